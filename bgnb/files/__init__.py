"""Files of models and reports, and output directories."""
