"""Checks of `09_gaussian_vae` and its submission corpus."""
