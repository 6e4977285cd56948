"""The gallery: every figure of `vae_utils`, plotted from small models, as PNGs and one page.

It is outside of `vae_utils`, because students' code can read that package during grading.
"""
