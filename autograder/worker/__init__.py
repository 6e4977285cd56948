"""The worker: the untrusted process that runs a submission's cells; it has no checks."""
