"""The core: counts and livetime cubes, and how they become background models."""
