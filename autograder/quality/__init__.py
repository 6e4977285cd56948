"""Tests of the course itself: submission corpora, verification, calibration, the demo class."""
