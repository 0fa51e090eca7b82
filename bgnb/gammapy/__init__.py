"""Models for Gammapy: a data store in which every run has a background."""
