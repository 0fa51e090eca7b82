"""Background cubes of the same off runs made by bgnb, a Gammapy script, and BAccMod: CPU time and accuracy.

    python benchmarks/peers.py DIRECTORY GAMMAPY_PYTHON BACCMOD_PYTHON [SEEDS]

The other two run in separate environments, whose interpreters are given; `make results` makes them:

    pip install gammapy==2.1 'regions<0.12' 'astropy<8'
    pip install baccmod==0.4.1 gammapy==2.1 'regions<0.12' 'astropy<8'

**Time.** All count the runs that bgnb does not refuse, but those on the Crab nebula and PKS 2155-304 (30 of H.E.S.S.
DL3 DR1), in 20 bins of energy and 60 × 60 of the field of view, aligned with altitude and azimuth, from opening the
directory to the rate in memory: smoothed by bgnb's classic, or counts over exposure as of the other two. Imports, a first
turn with one run, and attempts to download tables of the rotation of the Earth are not timed. The result is
the CPU time of one core: the median of three turns, for BAccMod of one turn.

**Accuracy.** BAccMod's models of the runs of two folds predict those of the third, with the folds and the figures of
`formulations.py`. Their axes are those of BAccMod's README, extended from 10 to 100 TeV: three bins per decade of
energy, six of the offset up to 2.5 deg. More bins changed the deviance by up to 1 per run, or raised it. Rates are
interpolated linearly in the field of view, as empty bins have no logarithm, and are constant beyond the last centres;
in energy as those of bgnb. They are counts per livetime, and are evaluated as such. (Gammapy would take them as rates
per ontime.) Without excluded regions BAccMod's exposure is constant, so that the steps in time and space with which
it averages the regions may be coarse.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ON = ("Crab Nebula", "PKS 2155-304")
N_ENERGY, N_FOV = 20, 60
ENERGY = np.geomspace(0.1, 80, N_ENERGY + 1)  # TeV
FOV = np.degrees(np.linspace(-0.07, 0.07, N_FOV + 1))

COARSE = {"oversample_map": 1, "time_resolution": "600 s"}
FIT = COARSE | {"method": "fit", "interpolation_zenith_type": "log"}
NEAREST, INTERPOLATED = {"zenith_binning": True}, {"zenith_interpolation": True}
FINE = (np.arange(50) - 24.5) / 10  # deg, within the 2.5 deg of BAccMod's models
#: Models of BAccMod: class, settings, and use of the zenith bins.
BACCMOD: dict[str, tuple[str, dict[str, Any], dict[str, bool]]] = {
    "3D, defaults: stacked, all zenith angles": ("Grid3D", COARSE, {}),
    "3D, stacked, nearest zenith bin": ("Grid3D", COARSE, NEAREST),
    "3D, stacked, interpolated": ("Grid3D", COARSE, INTERPOLATED),
    "3D, Gaussian, nearest zenith bin": ("Grid3D", FIT, NEAREST),
    "3D, Gaussian, interpolated": ("Grid3D", FIT, INTERPOLATED),
    "radial, nearest zenith bin": ("Radial", {}, NEAREST),
    "radial, interpolated": ("Radial", {}, INTERPOLATED),
}


def measure_time(directory: Path, pythons: dict[str, str]) -> None:
    """Run all, and print the CPU times."""
    from usable_runs import usable_runs

    table = usable_runs(directory).table
    obs_ids = [int(row["OBS_ID"]) for row in table if "OBJECT" not in table.colnames or row["OBJECT"].strip() not in ON]
    found = {}
    for name in TURNS:
        program = [pythons[name], __file__, name, str(directory), *map(str, obs_ids)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        answer = subprocess.run(program, check=True, capture_output=True, text=True, env=environment).stdout
        found[name] = json.loads(answer.splitlines()[-1])
        counts = f" {found[name]['counts']:.0f} counts" if found[name]["counts"] > 1 else ""
        print(f"{found[name]['seconds']:9.3f} s of CPU  {name}, {len(obs_ids)} runs{counts}")
    for method in ("bgnb classic", "bgnb unsmoothed"):
        for name, aim in (("Gammapy script", 10), ("BAccMod 3D", 50)):
            ratio = found[name]["seconds"] / found[method]["seconds"]
            print(f"{ratio:9.1f} times as fast as {name} (aim: {aim}): {method}")


def measure_accuracy(directory: Path, python: str, seeds: int) -> None:
    """Predict runs from BAccMod's models of other runs, and from splines."""
    from formulations import GRID, HEADER, Data, line, ours

    from bgnb import Cube, CubeAxes, Validation
    from bgnb.cubes.cube import RATE_UNIT

    data = Data(directory)
    print(f"{len(data.obs_ids)} off runs, threefold cross-validation, mean over {seeds} seeds; deviance per run")
    print(HEADER)
    line("bgnb spline", [data.cross_validated(seed, ours()) for seed in range(seeds)])
    with tempfile.TemporaryDirectory() as folder:
        folds = [data.folds(seed) for seed in range(seeds)]
        subprocess.run(
            [python, "-W", "ignore", __file__, "BAccMod", str(directory), folder],
            check=True,
            input=json.dumps(folds),
            text=True,
        )
        axes = CubeAxes.regular(n_energy=9, n_fov=len(FINE), energy_min="0.1 TeV", energy_max="100 TeV", fov_max="2.5 deg")
        for number, name in enumerate(BACCMOD):
            validations = []
            for seed in range(seeds):
                rates = {o: Cube(axes, np.load(Path(folder, f"{number}_{seed}_{o}.npy")) * RATE_UNIT) for o in data.obs_ids}
                validations.append(Validation(GRID, tuple(data.prediction(o, rate) for o, rate in rates.items())))
            line(f"BAccMod {name}", validations)


def write_baccmod_models(directory: Path, folder: Path, seeds: list[list[tuple[list[int], list[int]]]]) -> None:
    """Write the rate of each held-out run, shape (energy, dety, detx)."""
    import baccmod
    from astropy import units as u
    from gammapy.data import DataStore
    from gammapy.maps import MapAxis

    energy = MapAxis.from_energy_bounds(0.1 * u.TeV, 100 * u.TeV, nbin=9, name="energy")
    offset = MapAxis.from_bounds(0 * u.deg, 2.5 * u.deg, nbin=6, name="offset")
    store = DataStore.from_dir(directory)
    for number, (kind, settings, zenith) in enumerate(BACCMOD.values()):
        arguments = {k: u.Quantity(v) if k == "time_resolution" else v for k, v in settings.items()}
        creator = getattr(baccmod, f"{kind}AcceptanceMapCreator")(energy, offset, **arguments)
        for seed, folds in enumerate(seeds):
            for folded in folds:
                held_out, others = (store.get_observations(obs_ids, required_irf=["aeff"]) for obs_ids in folded)
                backgrounds = creator.create_acceptance_map_per_observation(
                    held_out, off_observations=others, runwise_normalisation=False, **zenith
                )
                for obs_id, background in backgrounds.items():
                    np.save(folder / f"{number}_{seed}_{obs_id}.npy", fine_rate(background))


def fine_rate(background: Any) -> np.ndarray:
    """Interpolate the rate of a radial or 3D model of Gammapy linearly in the field of view."""
    rate = background.quantity.to_value("MeV-1 s-1 sr-1")
    centres = background.axes[-1].center.to_value("deg")
    if rate.ndim == 2:
        return np.array([np.interp(np.hypot(FINE, FINE[:, None]), centres, plane) for plane in rate])
    weights = np.array([np.interp(FINE, centres, row) for row in np.eye(len(centres))])
    return weights.T @ rate.transpose(0, 2, 1) @ weights


def bgnb_cube(directory: Path, obs_ids: list[int], method: str = "classic") -> float:
    """Read, transform, stack, and make a rate."""
    from bgnb import CubeAxes, make_model, open_runs, read_event_list, stack_runs

    runs = open_runs(directory, "GADF")
    axes = CubeAxes.regular(n_energy=N_ENERGY, n_fov=N_FOV)
    stack = stack_runs((read_event_list(runs.files(obs_id)) for obs_id in obs_ids), axes)
    return float(make_model(stack, method).stack.counts.sum())


def gammapy_cube(directory: Path, obs_ids: list[int]) -> float:
    """Count with Gammapy's reader, Astropy's frames with interpolated astrometry, and numpy's histogram."""
    from astropy import units as u
    from astropy.coordinates import AltAz, SkyCoord
    from astropy.coordinates.erfa_astrom import ErfaAstromInterpolator, erfa_astrom
    from gammapy.data import DataStore
    from gammapy.utils.coordinates import sky_to_fov

    counts, livetime = np.zeros((N_ENERGY, N_FOV, N_FOV)), np.zeros(N_ENERGY)
    for observation in DataStore.from_dir(directory).get_observations(obs_ids, required_irf=["aeff"]):
        gti = observation.gti  # one interval
        events = observation.events.select_time(gti.time_start.insert(1, gti.time_stop))
        frame = AltAz(obstime=events.time, location=observation.meta.location)
        with erfa_astrom.set(ErfaAstromInterpolator(300 * u.s)):
            sky = events.radec.transform_to(frame)
            pointing = SkyCoord(observation.get_pointing_icrs(observation.tmid)).transform_to(frame)
        x, y = sky_to_fov(sky.az, sky.alt, pointing.az, pointing.alt)
        first = np.searchsorted(ENERGY, observation.aeff.meta["LO_THRES"] * (1 - 1e-6))
        sample = np.stack([events.energy.to_value("TeV"), y.to_value("deg"), x.to_value("deg")], axis=1)
        counts += np.histogramdd(sample[sample[:, 0] >= ENERGY[first]], (ENERGY, FOV, FOV))[0]
        livetime[first:] += observation.observation_live_time_duration.to_value("s")
    solid_angle = np.radians(np.diff(FOV))[:, None] * np.diff(np.sin(np.radians(FOV)))
    volume = livetime[:, None, None] * np.diff(ENERGY)[:, None, None] * solid_angle
    np.divide(counts, volume, out=np.zeros_like(counts), where=volume > 0)
    return float(counts.sum())


def baccmod_cube(directory: Path, obs_ids: list[int]) -> float:
    """Make BAccMod's 3D model, with default settings."""
    from astropy import units as u
    from baccmod import Grid3DAcceptanceMapCreator
    from gammapy.data import DataStore
    from gammapy.maps import MapAxis

    energy = MapAxis.from_energy_edges(ENERGY * u.TeV, name="energy")
    offset = MapAxis.from_edges(FOV[N_FOV // 2 :] * u.deg, name="offset")
    observations = DataStore.from_dir(directory).get_observations(obs_ids, required_irf=["aeff"])
    model = Grid3DAcceptanceMapCreator(energy, offset).create_model(observations)
    return float(model.data.max() > 0)  # the number of counts is not available


TURNS: dict[str, tuple[Callable[[Path, list[int]], float], int]] = {
    "bgnb classic": (bgnb_cube, 3),
    "bgnb unsmoothed": (partial(bgnb_cube, method="unsmoothed"), 3),
    "Gammapy script": (gammapy_cube, 3),
    "BAccMod 3D": (baccmod_cube, 1),
}


def measure(name: str, directory: Path, obs_ids: list[int]) -> None:
    """Print CPU time and counts of one of them."""
    from astropy.utils import iers

    iers.conf.auto_download = False
    task, turns = TURNS[name]
    task(directory, obs_ids[:1])
    seconds = []
    for _ in range(turns):
        started = time.process_time()
        counts = task(directory, obs_ids)
        seconds.append(time.process_time() - started)
    print(json.dumps({"seconds": statistics.median(seconds), "counts": counts}))


if __name__ == "__main__":
    if sys.argv[1] in TURNS:
        measure(sys.argv[1], Path(sys.argv[2]), [int(obs_id) for obs_id in sys.argv[3:]])
    elif sys.argv[1] == "BAccMod":
        write_baccmod_models(Path(sys.argv[2]), Path(sys.argv[3]), json.load(sys.stdin))
    else:
        measure_time(Path(sys.argv[1]), dict(zip(TURNS, (sys.executable, sys.executable, *sys.argv[2:4]), strict=True)))
        measure_accuracy(Path(sys.argv[1]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 2)
