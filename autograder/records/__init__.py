"""What grading produces, and text that is safe to show."""
