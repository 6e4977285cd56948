"""Checks of `07_fashion_vae` and its submission corpus."""
