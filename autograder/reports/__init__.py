"""Writes results for people and other programs: pages, tables, the output folder."""
