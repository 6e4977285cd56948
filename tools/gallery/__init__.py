"""The gallery: every figure of `vae_utils` drawn from small models, as PNGs and a page."""
