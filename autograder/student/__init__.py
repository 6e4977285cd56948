"""The check inside a student's notebook and its display."""
