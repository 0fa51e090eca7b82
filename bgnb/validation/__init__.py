"""Comparison of models with observed counts, and with each other."""
