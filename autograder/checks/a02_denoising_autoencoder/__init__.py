"""The checks of `02_denoising_autoencoder` and its submission corpus."""
