"""Checks of `10_loss_study` and its submission corpus."""
