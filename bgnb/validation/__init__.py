"""Models compared with observed counts, and with each other."""
