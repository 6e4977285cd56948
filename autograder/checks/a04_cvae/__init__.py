"""The checks of `04_cvae` and its submission corpus."""
