"""Checks of `08_elbo_vae` and its submission corpus."""
