"""Checks of `06_vq_vae` and its submission corpus."""
