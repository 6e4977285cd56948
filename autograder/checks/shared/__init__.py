"""Checks and known mistakes that several assignments use."""
