"""The checks of `00_reparameterization` and its submission corpus."""
