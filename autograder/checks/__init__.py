"""The vocabulary of checks, what assignments share, and one folder for each assignment."""
