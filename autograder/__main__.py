"""Run the `vaelab` command as `python -m autograder`."""

from autograder.cli import main

main()
