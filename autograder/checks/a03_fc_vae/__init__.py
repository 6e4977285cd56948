"""The checks of `03_fc_vae` and its submission corpus."""
