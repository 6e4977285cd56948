"""What comes out of grading, for people and for other programs."""
