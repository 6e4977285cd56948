"""The sandbox of the workers: tiers, limits, and the judge's connection to a worker."""
