"""Confines workers: tiers, limits, and the judge's end of a worker process."""
