"""Simulation of runs from a known true model."""
