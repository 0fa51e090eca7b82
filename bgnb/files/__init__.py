"""Models and reports on disk."""
