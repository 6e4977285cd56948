"""Writes results for people and for other programs: pages, tables, the output folder."""
