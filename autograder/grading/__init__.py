"""Grades submissions: reads notebooks, runs the checks against a worker, many side by side."""
