"""The course on disk: its folder, its sources, its reference solutions."""
