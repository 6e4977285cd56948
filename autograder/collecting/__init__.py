"""Collects submissions as a learning platform delivers them, into nbgrader's layout."""
