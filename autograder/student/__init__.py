"""The function `check` of a student's notebook, and the display of its check results."""
