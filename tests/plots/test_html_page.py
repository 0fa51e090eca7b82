"""Standalone pages of views."""

import re
from dataclasses import replace

import numpy as np
import pytest

from bgnb.plots.alternative_texts import describe
from bgnb.plots.bokeh_figures import Plots
from bgnb.plots.html_page import _changes, to_html
from bgnb.plots.view import Image
from tests.helpers.errors import raises
from tests.plots.views import VALUES, bars, image, sectors, spectrum, view

ENERGIES = {"<1>": ("low", "high"), "7 & 8": ("low", "middle", "high")}


def frame(group, energy):
    """Make a view of a group at an energy; the map and the histogram are the same in all."""
    number = list(ENERGIES).index(group), len(energy)
    panels = {
        "image": image(f"Rate {group} {energy}", VALUES * number[1]),
        "spectrum": spectrum(f"Spectrum of {group}"),
        "map": sectors(),
        "bars": bars(),
    }
    return replace(view(title=f"Group {group}, {energy}", **panels), summary=f"Text on {group}\nat {energy}")


@pytest.fixture(scope="module")
def frames():
    """Views of two groups with different energies."""
    return {(group, energy): frame(group, energy) for group, energies in ENERGIES.items() for energy in energies}


def test_page_has_menu_and_slider(frames):
    """Menu and slider have accessible names, the present choice, and escaped entries."""
    page = to_html(frames, ("7 & 8", "middle"), names=("period", "energy"))
    assert '<html lang="en">' in page
    assert "<title>Group 7 &amp; 8, middle</title>" in page
    (menu,) = re.findall(r'<select id="bgnb-menu" aria-label="period">(.*?)</select>', page, re.DOTALL)
    assert re.findall(r"<option (\w*)>(.*?)</option>", menu) == [("", "&lt;1&gt;"), ("selected", "7 &amp; 8")]
    assert re.search(r'<input id="bgnb-slider" type="range"[^>]*aria-label="energy"', page)
    assert re.search(r'<p id="bgnb-summary" role="status">Text on 7 &amp; 8\nat middle</p>', page)
    assert "<1>" not in page
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", re.sub(r"(?s)(<script[^>]*>).*?</script>", r"\1", page))


def test_single_views_need_no_controls(frames):
    """There is no menu for one group, and no slider for one view of each."""
    small = {key: replace(each, panels={"image": each.panels["image"]}) for key, each in frames.items()}
    first, second = list(small.items())[:2]
    for views, hidden in (
        ({first[0]: first[1]}, 2),
        (dict((first, second)), 1),
        ({(g, ""): small[g, "low"] for g in ENERGIES}, 1),
    ):
        assert to_html(dict(views)).count("<label hidden>") == hidden


def test_page_is_reproducible(frames):
    """A page depends only on its views."""
    assert to_html(frames) == to_html(dict(frames))


def test_equal_properties_are_stored_once(frames):
    """Properties that are equal in several views are stored once, and those equal in all not at all."""
    views = list(frames.values())
    plots = Plots(views[0])
    models, values, numbers = _changes(plots, frames, 1e9)
    names = {model.name: i for i, model in enumerate(models)}
    assert len(values[names["image-data"]]) == 3  # low and high, 3 and 4 letters, are the same in both groups
    assert not names.keys() & {"map-polygons", "bars-0", "spectrum-0"}
    titles = next(i for i, model in enumerate(models) if "Spectrum of <1>" in str(values[i][0]))
    assert [each[titles] for each in numbers] == [0, 0, 1, 1, 1]
    for shown, each in zip(views, numbers, strict=True):
        wanted = dict(plots.properties(shown))
        for model, known, number in zip(models, values, each, strict=True):
            if model.name == "image-data":
                np.testing.assert_array_equal(known[number]["data"]["value"], wanted[model]["data"]["value"])


def test_too_large_page_is_refused(frames):
    """A page above the maximum size raises an error that states its size, early if there are many views."""
    size = len(to_html(frames).encode())
    with raises("too-large", f"{size / 1e6:.3g} MB", "0.5 MB"):
        to_html(frames, max_size=0.5e6)
    assert to_html(frames, max_size=size)
    sides = np.linspace(-3, 3, 501)
    large = replace(image("Large", np.random.default_rng(0).random((500, 500))), x_edges=sides, y_edges=sides)
    shown = []

    class Views(dict):
        def values(self):
            for number, each in enumerate(super().values()):
                shown.append(number)
                yield replace(each, panels={"image": replace(large, values=large.values + number)})

    many = Views({("", str(number)): view(image=large) for number in range(50)})
    with raises("too-large", "83.4 MB", "10 MB"):
        to_html(many, max_size=10e6)
    assert len(shown) < 15


def test_descriptions_state_what_is_shown():
    """Descriptions for screen readers have title, kind, axes, names and values."""
    assert describe(image("Rate")) == ("Rate: image over DETX / deg and DETY / deg, values from 0 to 1.7 × 10⁻⁴ MeV⁻¹ s⁻¹.")
    empty = image("", np.full_like(VALUES, np.nan))
    assert isinstance(empty, Image)
    assert describe(empty) == "image over DETX / deg and DETY / deg, without values."
    assert describe(spectrum()) == "Spectrum: graph of model, _data; MeV⁻¹ s⁻¹ against energy / TeV."
    assert describe(sectors()) == "Livetime: map of runs, values from 0 to 10 h."
    assert describe(bars()) == "Histogram of runs: graph of runs; livetime / s against zenith / deg."
