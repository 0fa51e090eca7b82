"""Runs in: directories, event lists, coordinates, selection, groups."""
