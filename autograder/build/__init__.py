"""Builds notebooks from sources."""
