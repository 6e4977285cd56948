"""Brings finished results to other systems: nbgrader, learning platforms, Gradescope."""
