"""The checks of `01_autoencoder` and its submission corpus."""
