"""Make ``docs/images/methods_*.png`` of the explanation from simulated runs: ``python docs/figures.py``, half a minute."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from matplotlib.figure import Figure

import bgnb
from bgnb.cubes.exclusion_mask import SourceMask

IMAGES = Path(__file__).parent / "images"
#: A true model with a gradient, and thresholds that rise towards the horizon.
SIMULATED = {"trigger_rate": 300.0, "gradient_x": 0.06, "energy_threshold": 0.2, "seed": 5}
BINS = {"n_energy": 20, "n_fov": 40}


def main() -> None:
    """Make all figures."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        bgnb.make_test_dataset(runs, n_runs=24, alt_range=(40, 90), progress=False, **SIMULATED)
        made = {
            method: bgnb.make_models(runs, "GADF", select="all", method=method, progress=False, **BINS).models
            for method in ("spline", "classic", "unsmoothed")
        }
        models = {method: {group.group_id: group.model for group in of.models} for method, of in made.items()}
        most = max(models["spline"], key=lambda group_id: len(models["spline"][group_id].stack.runs))
        threshold(models["spline"][most])
        smoothing({method: of[most] for method, of in models.items()})
        pointing(made)
        opened = bgnb.open_runs(runs, "GADF")
        highest = opened.obs_ids[opened.table["ALT_PNT"].argmax()]  # its field of view rotates most
        exclusion(bgnb.read_event_list(opened.files(highest)))
        bin_centres()


def threshold(model: bgnb.BackgroundModel) -> None:
    """Plot counts, livetime and rate of a group against energy."""
    figure, panels = new_figure(3)
    edges, stack = model.axes.energy.value, model.stack
    counts, livetime = stack.counts.sum(axis=(1, 2)), stack.livetime.to_value("h").mean(axis=(1, 2))
    panels[0].stairs(counts, edges)
    panels[0].set(ylabel="counts per bin", yscale="log")
    panels[1].stairs(livetime, edges)
    panels[1].set(ylabel="livetime (h)")
    rate = model.rate.quantity.value[:, 20, 20]
    panels[2].plot(model.axes.energy_centers.value, rate, "o-", ms=3, lw=1)
    first = edges[np.argmax(livetime > 0)]
    panels[2].axvspan(edges[0], first, color="0.9")
    panels[2].text(np.sqrt(edges[0] * first), rate.min(), "extrapolated", rotation=90, va="bottom", ha="center")
    panels[2].set(ylabel="rate (MeV⁻¹ s⁻¹ sr⁻¹)", yscale="log")
    for panel in panels:
        panel.set(xscale="log", xlabel="energy (TeV)")
    save(figure, "threshold")


def smoothing(models: dict[str, bgnb.BackgroundModel]) -> None:
    """Plot a strip of a group along DETX: counts over exposure, and two methods."""
    figure, panels = new_figure(2)
    axes = models["spline"].axes
    detx, rows = axes.detx_centers.to_value("deg"), slice(17, 23)
    for panel, energy in zip(panels, (0.6, 2.0), strict=True):
        plane = int(np.searchsorted(axes.energy.value, energy)) - 1
        for method, style in (("unsmoothed", "C7."), ("classic", "C1-"), ("spline", "C0-")):
            panel.plot(detx, 1e6 * models[method].rate.quantity.value[plane, rows].mean(axis=0), style, label=method)
        low, high = axes.energy.value[plane : plane + 2]
        panel.set(xlabel="DETX (deg)", ylabel="rate (10⁻⁶ MeV⁻¹ s⁻¹ sr⁻¹)", title=f"{low:.2g} to {high:.2g} TeV")
        panel.set_ylim(0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    save(figure, "smoothing")


def pointing(made: dict[str, bgnb.ModelSet]) -> None:
    """Plot the rate near the centre against the zenith angle: counts of the groups, and the spline."""
    figure, panels = new_figure(2)
    spline = made["spline"].for_pointing
    for panel, energy in zip(panels, (0.6, 2.0), strict=True):
        plane = int(np.searchsorted(spline.axes.energy.value, energy)) - 1
        for group in made["unsmoothed"].models:
            counts, livetime = (cube[plane, 10:30, 10:30] for cube in (group.model.stack.counts, group.model.stack.livetime))
            solid_angle = spline.axes.bin_volume.value[plane, 10:30, 10:30]
            exposure = (livetime.value * solid_angle).sum()
            if exposure:
                rate, error = 1e6 * counts.sum() / exposure, 1e6 * np.sqrt(counts.sum()) / exposure
                panel.errorbar(90 - group.alt_pnt, rate, error, fmt="o", ms=3, color="C7")
        zenith = np.linspace(3, 49, 40)
        weight = spline.axes.bin_volume.value[plane, 10:30, 10:30]
        fitted = [np.average(spline.rate_at(90 - z, 180.0).quantity.value[plane, 10:30, 10:30], weights=weight) for z in zenith]
        panel.plot(zenith, 1e6 * np.array(fitted), color="C0")
        low, high = spline.axes.energy.value[plane : plane + 2]
        panel.set(xlabel="zenith angle (deg)", ylabel="rate (10⁻⁶ MeV⁻¹ s⁻¹ sr⁻¹)", title=f"{low:.2g} to {high:.2g} TeV")
        panel.set_ylim(0)
    save(figure, "pointing")


def exclusion(run: bgnb.EventList) -> None:
    """Plot the fraction of the livetime outside exclusion regions, in both frames."""
    centres = {"RA": run.ra_pnt + np.array([1.2, -0.4]), "DEC": run.dec_pnt + np.array([0.6, -2.2])}
    mask = SourceMask.around(Table(centres | {"EXTENSION": np.zeros(2)}), 0.7 * u.deg)
    axes = bgnb.CubeAxes.regular(n_energy=2, n_fov=80)
    figure, panels = new_figure(2)
    for panel, frame in zip(panels, ("RADEC", "ALTAZ"), strict=True):
        livetime = bgnb.stack_runs([run], axes, frame, mask).livetime.value[-1]
        edges = axes.detx.to_value("deg")
        image = panel.pcolormesh(edges, edges, livetime / livetime.max(), vmin=0, vmax=1, rasterized=True)
        panel.set(xlabel="DETX (deg)", ylabel="DETY (deg)", title=frame, aspect="equal")
    figure.colorbar(image, ax=panels, label="fraction of the livetime")
    save(figure, "exclusion")


def bin_centres() -> None:
    """Plot the counts that Gammapy's interpolation predicts, with mean rates and with rates at the bin centres."""
    axes = bgnb.CubeAxes.regular(n_energy=8, n_fov=4)
    edges = axes.energy.to_value("MeV")
    integral = np.diff(edges**-1.7) / -1.7
    mean = (integral / np.diff(edges))[:, None, None] * np.ones(axes.shape)
    rate = bgnb.Cube(axes, mean * u.Unit("MeV-1 s-1 sr-1"))
    true = bgnb.predicted_rate(rate, axes).sum(axis=(1, 2))
    figure, panels = new_figure(1)
    for label, used in (("mean rates", rate), ("rates at bin centres", bgnb.point_rate(rate))):
        ratio = bgnb.predicted_rate(used, axes, "gammapy").sum(axis=(1, 2)) / true
        panels.stairs(ratio, axes.energy.value, baseline=None, label=label)
    panels.set(xscale="log", xlabel="energy (TeV)", ylabel="predicted / true counts")
    panels.legend()
    save(figure, "bin_centres")


def new_figure(n_panels: int) -> tuple[Figure, Any]:
    """Make a row of panels."""
    figure = Figure(figsize=(3.2 * n_panels, 2.8), layout="constrained")
    return figure, figure.subplots(1, n_panels)


def save(figure: Figure, name: str) -> None:
    """Write a figure."""
    figure.savefig(IMAGES / f"methods_{name}.png", dpi=110)


if __name__ == "__main__":
    main()
