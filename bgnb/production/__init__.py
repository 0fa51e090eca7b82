"""From a directory of runs to background models: settings, plan, counting, models, files."""
