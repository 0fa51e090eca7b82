"""Views of runs, models and comparisons, drawn as PNG, HTML pages and Bokeh figures."""
