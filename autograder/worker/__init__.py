"""The untrusted side: runs a submission's cells; knows no check."""
