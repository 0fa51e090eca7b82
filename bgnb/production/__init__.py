"""Production of background models from a directory of runs: settings, plan, counting, models and files."""
