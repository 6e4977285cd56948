"""The exchange between judge and worker: frames, values, and the submission as checks use it."""
