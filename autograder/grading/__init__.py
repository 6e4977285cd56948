"""Grades submissions: reads notebooks, runs the checks on a worker, several at the same time."""
