"""Interactive plots: titles."""

from dataclasses import replace

from bokeh.models import GlyphRenderer, Plot, Text, Title

from bgnb.plots.bokeh_figures import Plots, wrap_title
from tests.plots.views import image, spectrum, view


def test_titles_are_wrapped():
    """Titles are wrapped to the narrowest plots, but energies are not divided, and lines of the title remain."""
    title = "Integrated rate at 0.195 to 1.16 TeV, partly extrapolated\nMeV⁻¹"
    assert wrap_title(title) == "Integrated rate at 0.195 to 1.16 TeV,\npartly extrapolated\nMeV⁻¹"
    assert wrap_title("a_long_name_of_a_directory, 0.19512 to 1.16234 TeV").endswith("directory,\n0.19512 to 1.16234 TeV")
    assert wrap_title("Rate") == "Rate"
    assert max(map(len, wrap_title("x" * 70 + ", " + "word " * 30).splitlines())) <= 38


def test_plots_have_wrapped_titles():
    """The titles of images and graphs are wrapped, with the unit of an image in a line of its own."""
    long = "A title that is much too long for a narrow plot"
    shown = view(image=image(long), spectrum=spectrum(long))
    properties = Plots(shown).properties(shown)
    titles = [new["text"] for model, new in properties if isinstance(model, Title)]
    assert titles[1] == "A title that is much too long for a\nnarrow plot"
    assert titles[0].splitlines()[:2] == titles[1].splitlines()
    assert titles[0].splitlines()[2:] == ["10⁻⁴ MeV⁻¹ s⁻¹"]


def test_points_do_not_cover_labels():
    """Labels are drawn after all points, which would cover those of right ascension in maps of the sky."""
    plots = Plots(view(spectrum=replace(spectrum(), texts=((1.0, 1e-4, "12h"),))))
    (figure,) = (each for each in plots.layout.references() if isinstance(each, Plot))
    glyphs = [each.glyph for each in figure.renderers if isinstance(each, GlyphRenderer)]
    assert glyphs.index(next(each for each in glyphs if isinstance(each, Text))) == len(glyphs) - 1
