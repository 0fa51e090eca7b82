"""Simulated runs of a known true model."""
