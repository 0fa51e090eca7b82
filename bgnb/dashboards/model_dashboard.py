"""Dashboard of a directory of models: images at energies, spectra, profiles, and the rate against the zenith angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.cube_dashboard import CubeDashboard
from bgnb.dashboards.live_figures import Action
from bgnb.files.model_directory import ModelDirectory
from bgnb.plots.cube_state import Energy, through_energies
from bgnb.plots.directory_views import DirectoryViews
from bgnb.plots.model_views import ModelState
from bgnb.plots.pointing_map import group_at
from bgnb.plots.view import View


class ModelDashboard(CubeDashboard):
    """See `bgnb.dashboards.explore_models`."""

    State = ModelState
    kind = "models"
    function = "explore_models"
    coloured = "image"
    energy_panels = ("spectrum",)
    selecting = ("spectrum",)
    bar = ("group_id", "bins", "previous", "play", "next", "energies", "quantity")
    drawer: Mapping[str, tuple[str, ...]] = {
        "Groups": ("others", "all_groups", "one_group", "colour_by"),
        "Position or region": ("detx", "dety", "region", "draw"),
        "Energies": ("first_energy", "last_energy"),
        "Colours": ("stretch", "limits", "percentile", "low", "high", "palette"),
    }

    resets = (*CubeDashboard.resets, (("quantity",), {"low": None, "high": None}))

    def __init__(self, models: ModelDirectory, state: ModelState) -> None:
        self._models, self._views = models, DirectoryViews(models)
        super().__init__(state, {group_id: models.label(group_id) for group_id in models.group_ids}, [repr(str(models.path))])

    def axes_of(self, state: Any) -> CubeAxes:
        return self._models.read(state.group_id).axes

    def automatic_limits(self, state: ModelState) -> tuple[float, float]:
        return self._views.automatic_limits(state)

    def view_of(self, state: ModelState) -> View:
        return self._views.view_of(state, self.colour_limits(state))

    def act(self, action: Action) -> None:
        if action["panel"] != "groups":
            super().act(action)
        elif (
            action["kind"] == "tap"
            and None not in (action["x"], action["y"])
            and (groups := self._views.overview.groups) is not None
        ):
            found = group_at(groups, action["x"], action["y"])
            group_id = None if found is None else self._views.overview.model_ids.get(found, found)
            if group_id not in self._groups:
                raise BgnbError("not-found", "there is no model of this group: tap a coloured one")
            if action.get("add") and group_id != self.state.group_id:
                self.update(others=tuple({*self.state.further} ^ {group_id}))
            else:
                self.update(group_id=group_id)

    def frames(self) -> dict[tuple[str, str], Any]:
        frames: dict[tuple[str, str], Any] = {}
        for group_id, label in self._groups.items():
            state = replace(self.state, group_id=group_id)
            frames |= {(label, energies): each for energies, each in through_energies(self.axes_of(state), state).items()}
        return frames


def explore_models(
    modeldir: str | Path,
    *,
    group_id: int | None = None,
    others: Sequence[int] | str = (),
    quantity: str = "rate",
    energy: Energy | tuple[Energy, Energy] = 1.0,
    position: tuple[float, float] = (0.0, 0.0),
    region: str = "",
    stretch: str = "linear",
    limits: str = "this energy",
    percentile: float = 100.0,
    low: float | None = None,
    high: float | None = None,
    palette: str = "viridis",
    colour_by: str = "livetime",
    draw: str = "nothing",
) -> ModelDashboard:
    """Explore the models of a directory: images at energies, spectra, profiles, and the rate against the zenith angle.

    Tap in the image to choose a position, in the spectrum to choose an energy (or drag to
    choose a range), and in the map of pointings to choose a group; with Shift, to add one to
    the graphs. All arguments are controls, and attributes of the widget.

    Parameters
    ----------
    modeldir : path
        Directory of models.
    group_id : int, optional
        Group; by default the group with most counts.
    others : sequence of int or "all"
        Further groups that are shown in the graphs.
    quantity : {"rate", "integrated rate", "counts", "livetime", "relative error"}
        Quantity of the image: of several energy bins the mean rate, the rate integrated over
        energy, the sum of the counts. The relative error is that stated by the model, or else
        that of the counts of one bin; smoothing makes the actual error smaller.
    energy : `~astropy.units.Quantity`, str or float (TeV), or a pair of them
        Energy, or a range of energies; the image shows the energy bins that contain it.
    position : tuple of float
        DETX and DETY of the spectrum, deg.
    region : str
        Region for spectrum and zenith angle, in place of the bin at the position:
        ``circle(x, y, r)``, ``annulus(x, y, r1, r2)`` or ``box(x, y, width, height)``, deg.
    stretch : {"linear", "log", "sqrt"}
        Stretch of the colours.
    limits : {"this energy", "all energies"}
        Values of the first and the last colour: those of the image, or those of all energy bins.
    percentile : float
        Percentage of the values within limits that are not set by hand.
    low, high : float, optional
        Limits by hand, in the unit of the image; if only one is given, the other is chosen as above.
    palette : {"viridis", "cividis"}
        Colours.
    colour_by : {"livetime", "counts", "mean rate"}
        Quantity that colours the map of groups.
    draw : {"nothing", "circle", "annulus", "box"}
        Region that dragging in the image draws.

    Returns
    -------
    ModelDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If there are no models, or an argument is invalid.

    Examples
    --------
    >>> import bgnb
    >>> dashboard = bgnb.dashboards.explore_models("models", energy="2 TeV")
    >>> dashboard.energy = "5 TeV"
    >>> print(dashboard.python)
    import bgnb
    <BLANKLINE>
    bgnb.dashboards.explore_models('models', group_id=27, energy=5.0)
    """
    models = ModelDirectory(modeldir)
    state = ModelState.from_arguments(
        group_id=models.checked(group_id), others=models.group_ids if others == "all" else others, quantity=quantity,
        energy=energy, position=position, region=region, stretch=stretch, limits=limits, percentile=percentile, low=low,
        high=high, palette=palette, colour_by=colour_by, draw=draw,
    )  # fmt: skip
    return ModelDashboard(models, state)
