"""The checks of `05_structured_cvae` and its submission corpus."""
