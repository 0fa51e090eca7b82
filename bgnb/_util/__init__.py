"""Helpers without domain knowledge: errors, argument validation, arrays, settings, signals, progress bars."""
