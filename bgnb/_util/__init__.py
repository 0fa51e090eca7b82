"""Helpers without any knowledge of the field: errors, argument validation, arrays, signals, progress bars."""
