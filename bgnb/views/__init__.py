"""What is shown, as plain values, and the renderers that draw it: Bokeh figures, pages, PNG and CSV."""
