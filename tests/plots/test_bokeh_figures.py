"""Interactive plots: titles."""

import re
from dataclasses import replace

import pytest
from bokeh.models import Axis, GlyphRenderer, Plot, Text, Title

from bgnb.plots.bokeh_figures import Plots, draw, wrap
from tests.plots.views import image, spectrum, view


def test_titles_are_wrapped():
    """Titles are wrapped to the narrowest plots, but energies are not divided, and lines of the title remain."""
    title = "Integrated rate at 0.195 to 1.16 TeV, partly extrapolated\nMeV⁻¹"
    assert wrap(title) == "Integrated rate at 0.195 to 1.16 TeV,\npartly extrapolated\nMeV⁻¹"
    assert wrap("a_long_name_of_a_directory, 0.19512 to 1.16234 TeV").endswith("directory,\n0.19512 to 1.16234 TeV")
    assert wrap("Rate") == "Rate"
    assert max(map(len, wrap("x" * 70 + ", " + "word " * 30).splitlines())) <= 38


def test_plots_have_wrapped_titles():
    """The titles of images and graphs are wrapped, with the unit of an image in a line of its own."""
    long = "A title that is much too long for a narrow plot"
    shown = view(image=image(long), spectrum=spectrum(long))
    properties = Plots(shown).properties(shown)
    titles = [new["text"] for model, new in properties if isinstance(model, Title)]
    assert titles[1] == "A title that is much too long for a\nnarrow plot"
    assert titles[0].splitlines()[:2] == titles[1].splitlines()
    assert titles[0].splitlines()[2:] == ["10⁻⁴ MeV⁻¹ s⁻¹"]


def test_labels_of_axes_are_wrapped():
    """Labels of axes are wrapped, those of vertical axes to lines that are shorter."""
    shown = view(spectrum=replace(spectrum(), x_label="one " * 15, y_label="name_of_one_model / name_of_the_other"))
    labels = [new["axis_label"] for _, new in Plots(shown).properties(shown) if "axis_label" in new]
    assert labels == ["one " * 8 + "one\n" + "one " * 5 + "one", "name_of_one_model /\nname_of_the_other"]


@pytest.mark.parametrize("name", ["$$x^2$$", r"\(x\)", r"\[x\]"])
def test_names_are_no_formulas(name):
    """Names that Bokeh would typeset remain as they are, in titles and in labels of axes."""
    shown = view(image=image(name), spectrum=replace(spectrum(name), y_label=f"{name} / other", x_label=name))
    plots = Plots(shown)
    draw(plots.properties(shown))
    texts = [str(each.text) for each in plots.layout.references() if isinstance(each, Title)]
    texts += [str(each.axis_label) for each in plots.layout.references() if isinstance(each, Axis)]
    shown_texts = [text for text in texts if name in text.replace("\N{ZERO WIDTH NON-JOINER}", "")]
    assert len(shown_texts) == 4
    assert not any(re.search(r"\$\$|\\\(|\\\[", text) for text in shown_texts)  # what BokehJS looks for


def test_points_do_not_cover_labels():
    """Labels are drawn after all points, which would cover those of right ascension in maps of the sky."""
    plots = Plots(view(spectrum=replace(spectrum(), texts=((1.0, 1e-4, "12h"),))))
    (figure,) = (each for each in plots.layout.references() if isinstance(each, Plot))
    glyphs = [each.glyph for each in figure.renderers if isinstance(each, GlyphRenderer)]
    assert glyphs.index(next(each for each in glyphs if isinstance(each, Text))) == len(glyphs) - 1
