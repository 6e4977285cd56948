"""The code that runs inside a sandbox, in the same process as the submission."""
