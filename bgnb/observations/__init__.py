"""Input data: directories of runs, event lists, coordinates, run selection and groups."""
