"""What runs inside a sandbox, beside a submission."""
