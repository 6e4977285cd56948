"""Where a submission runs, and what it can reach from there."""
