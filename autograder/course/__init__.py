"""The course on disk: where it is, its sources, its reference solutions."""
