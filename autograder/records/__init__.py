"""Results of grading, and functions that make untrusted text safe to display."""
