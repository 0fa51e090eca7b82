"""Coverage of the flux intervals of weak extended sources in Gammapy, with and without priors on the background.

    .venv-gammapy/bin/python benchmarks/flux_coverage.py [SETS] [WORKERS]

Each of SETS (10) sets has a spline of 30 simulated off runs and 400 runs on a source, in 20 stacks of 20, which are also
divided into stacks of five. The norms of all runs scatter by 13 % and their spectral indices by 0.05. The source is a
Gaussian of 0.4 deg with 4 % of the events of a run; a circle of 1.3 deg around it is excluded from the norms of runs. Its
flux is fitted to single runs and stacks of 5 and 20 runs: in maps of 1.4 deg, within the circle, of 3 and 4 deg, and
in the circle alone (`BackgroundMaker.fit_mask`); with the background fixed, with the priors of `set_background_priors`,
in all or per energy bin, and with a free norm.

Printed are the percentages of toys whose true flux lies within 1 and 1.96 errors of the fitted one; mean and
standard deviation of the difference in units of the error; and, in percent of the flux, the mean error and the standard
deviation between sets of the mean flux. In brackets are standard errors, from the scatter between sets, because the toys of a
set have the models in common.

A fit with priors of a map beyond the circle uses events twice that already determined the norms of runs. A last table
has the stated error of the flux relative to the true one that follows, from the information matrix, for Gaussian
fields of view and sources, fitted everywhere, and the coverage.
"""

import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.table import Row, Table
from astropy.time import Time
from gammapy.data import GTI, EventList, FixedPointingInfo, Observation
from gammapy.data.metadata import ObservationMetaData
from gammapy.datasets import Datasets, MapDataset
from gammapy.irf import EffectiveAreaTable2D
from gammapy.makers import MapDatasetMaker
from gammapy.maps import Map, MapAxis, WcsGeom
from gammapy.modeling import Fit
from gammapy.modeling.models import FoVBackgroundModel, GaussianSpatialModel, PowerLawSpectralModel, SkyModel
from scipy.special import erf

from bgnb import TrueModel, make_test_eventlist, make_test_observation_table
from bgnb._util.arrays import Floats
from bgnb.gammapy import BackgroundMaker, make_models, set_background_priors
from bgnb.observations.coordinates import pointing_altaz
from bgnb.observations.sites import OBSERVATORIES

N_OFF, N_STACKS, STACKS = 30, 20, (1, 5, 20)
SCATTER, TILT, RATE, SIGMA = 0.13, 0.05, 3.0, 3.0
EVENTS = RATE * 1500 * 0.9  # of a run
PIVOT = 1.0  # TeV; the rate there does not depend on the index
SOURCE, EXTENSION, WOBBLE, FRACTION = SkyCoord(83.6, -30.0, unit="deg"), 0.4, 0.7, 0.04
CATALOG = Table({"NAME": ["source"], "RA": [SOURCE.ra.deg], "DEC": [SOURCE.dec.deg], "EXTENSION": [EXTENSION]})
AREAS = {"1.4 deg": 1.4, "3 deg": 3.0, "4 deg": 4.0, "fit_mask": 4.0}
# Events have energies above THRESHOLD; the lowest bin that runs measured completely starts at 0.532 TeV.
THRESHOLD = 0.5
ENERGY = MapAxis.from_energy_edges([0.54, 1.0, 2.0, 5.0, 20.0] * u.TeV, interp="log")
MODELS = {"select": "all", "n_energy": 16, "n_fov": 50, "fov_max": "3.5 deg", "fovalign": "RADEC", "workers": 1}
TRUE_ENERGY = ENERGY.copy(name="energy_true")
EXPOSURE = 1e10  # m2 s of a run
# Of the effective area, only the energy threshold is used.
AREA = EffectiveAreaTable2D.from_parametrization(MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=6, name="energy_true"))
AREA.meta = {"LO_THRES": THRESHOLD}
SIDEREAL_DAY = 86164.0905
SITE = OBSERVATORIES["HESS"]
BACKGROUNDS = ("fixed", "priors", "per energy", "free")


def main(n_sets: int, workers: int) -> None:
    """Print the table."""
    amplitude = true_amplitude()
    with ProcessPoolExecutor(workers) as executor:
        sets = list(executor.map(partial(toys_of_set, amplitude), range(n_sets)))
    print(f"maximum difference from fits of Gammapy: {difference_from_gammapy(amplitude):.3f} errors")
    print("norm   runs area      background     toys      68 %          95 %         mean  width  error   sets")
    for key in sets[0]:
        fits = np.stack([toys[key] for toys in sets])  # set, toy, flux and error relative to the true flux
        norm, n_runs, area, background = key
        pulls = (fits[..., 0] - 1) / fits[..., 1]
        inside = [np.abs(pulls) < limit for limit in (1.0, 1.96)]
        numbers = [
            f"{100 * each.mean():6.1f} ({100 * each.mean(axis=1).std(ddof=1) / np.sqrt(n_sets):3.1f})" for each in inside
        ]
        error, of_sets = 100 * fits[..., 1].mean(), 100 * fits[..., 0].mean(axis=1).std(ddof=1)
        shape = f"{pulls.mean():+7.2f}{pulls.std():7.2f}{error:7.1f}{of_sets:7.1f}"
        print(f"{norm:6s}{n_runs:5d} {area:10s}{background:11s}{pulls.size:8d} {numbers[0]}  {numbers[1]} {shape}")

    print("\nfield of view  source  stated / true error  68 %  95 %  (all events fitted, those outside the circle twice)")
    for view, source in ((1.5, 0.4), (1.2, 0.4), (1.2, 0.6), (1.0, 0.6), (1.0, 0.8)):
        ratio = ratio_of_errors(view, source)
        coverage = "".join(f"{100 * erf(ratio * limit / np.sqrt(2)):6.1f}" for limit in (1.0, 1.96))
        print(f"{view:9.1f} deg{source:5.1f} deg{ratio:12.3f}{coverage}")


def ratio_of_errors(view: float, extension: float) -> float:
    """Return the stated error of the flux relative to the true one if events outside the circle are used twice."""
    x = np.arange(-6, 6, 0.05) + 0.025
    x, y = np.meshgrid(x, x)
    background, source = (
        events * np.exp(-((x - offset) ** 2 + y**2) / (2 * sigma**2)) * 0.05**2 / (2 * np.pi * sigma**2)
        for events, sigma, offset in ((EVENTS, view, WOBBLE), (FRACTION * EVENTS, extension, 0.0))
    )
    outside = np.hypot(x, y) > 0.5 + 2 * extension
    design = np.stack([source, background])  # derivatives with respect to flux and norm
    information = [(design * used / (source + background)).reshape(2, -1) @ design.reshape(2, -1).T for used in (1, outside)]
    prior = np.zeros((2, 2))
    prior[1, 1] = background[outside].sum()  # the norm from the events outside the circle
    stated = np.linalg.inv(information[0] + prior)
    # Events outside contribute to the fit and, with the same fluctuations, to the mean of the prior.
    common = information[1] * [0, 1]
    true = stated + stated @ (common + common.T) @ stated
    return float(np.sqrt(stated[0, 0] / true[0, 0]))


def source_model(amplitude: float = 1e-13) -> SkyModel:
    """Return the source, whose amplitude (1 / (cm2 s TeV)) is free."""
    spectrum = PowerLawSpectralModel(index=2.3, amplitude=amplitude * u.Unit("cm-2 s-1 TeV-1"), reference=1 * u.TeV)
    spatial = GaussianSpatialModel(lon_0=SOURCE.ra, lat_0=SOURCE.dec, sigma=EXTENSION * u.deg, frame="icrs")
    model = SkyModel(spectrum, spatial, name="source")
    model.parameters.freeze_all()
    spectrum.amplitude.frozen = False
    return model


def exposed_map() -> MapDataset:
    """Return a map about the source with the exposure of a run, without counts."""
    geom = WcsGeom.create(skydir=SOURCE, width=max(AREAS.values()), binsz=0.2, proj="TAN", axes=[ENERGY])
    dataset = MapDataset.create(geom, energy_axis_true=TRUE_ENERGY)
    dataset.psf = dataset.edisp = None
    dataset.exposure.data += EXPOSURE
    dataset.mask_safe.data[...] = True
    return dataset


def expected_source(amplitude: float) -> Map:
    """Predict the counts of the source in a run."""
    dataset = exposed_map()
    dataset.models = [source_model(amplitude)]
    return dataset.npred_signal()


def true_amplitude() -> float:
    """Return the amplitude at which the source has a fraction of the events of a run."""
    return 1e-13 * FRACTION * EVENTS / float(expected_source(1e-13).data.sum())


def toys_of_set(amplitude: float, seed: int) -> dict:
    """Return relative flux and error of all toys of a set, by norm, number of runs, area and background."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    makers, expected = background_makers(rng, seed), expected_source(amplitude)
    mask = makers["run"].fit_mask(expected.geom)
    found: dict = {}
    for number in range(N_STACKS):
        rows, sums = on_runs(rng, max(STACKS), 1000 + number * max(STACKS)), {}
        for n_before, row in enumerate(rows):
            for norm, dataset in datasets_of_run(row, rng, makers, expected).items():
                for n_runs in STACKS:
                    if n_before % n_runs == 0:
                        sums[norm, n_runs] = dataset.copy()
                    else:
                        sums[norm, n_runs].stack(dataset)
                    # As many single runs as stacks of five.
                    if (n_before + 1) % max(n_runs, STACKS[1]) == 0:
                        for key, fitted in fits_of_stack(sums[norm, n_runs], expected * n_runs, mask).items():
                            found.setdefault((norm, n_runs, *key), []).append(fitted)
    return {key: np.array(fits) for key, fits in found.items()}


def background_makers(rng: np.random.Generator, seed: int) -> dict[str, BackgroundMaker]:
    """Make models from off runs, and the makers of backgrounds with the norms of runs and of the models."""
    off = make_test_observation_table(n_runs=N_OFF, seed=seed, alt_range=(50, 80))
    models = make_models([simulate(row, rng) for row in off], **MODELS, progress=False)
    maker = MapDatasetMaker(background_oversampling=5)
    with_norm = BackgroundMaker(models, maker=maker, catalog=CATALOG)
    return {"run": with_norm, "model": BackgroundMaker(models, norm="model", maker=maker)}


def datasets_of_run(row: Row, rng: np.random.Generator, makers: dict, expected: Map) -> dict[str, MapDataset]:
    """Simulate a run on the source; return its datasets, by norm."""
    observation = simulate(row, rng)
    dataset = MapDatasetMaker(selection=["counts"]).run(exposed_map(), observation)
    dataset.counts.data += rng.poisson(expected.data)
    dataset.exposure = exposed_map().exposure
    return {norm: maker.run(dataset.copy(), observation) for norm, maker in makers.items()}


def fits_of_stack(stacked: MapDataset, expected: Map, mask: Map) -> dict:
    """Return flux and error, by area and background."""
    found = {}
    norms = {background: norms_of(stacked, background) for background in BACKGROUNDS}
    for area, width in AREAS.items():
        counts, known, source, used = (
            each.cutout(SOURCE, width * u.deg).data.reshape(ENERGY.nbin, -1)
            for each in (stacked.counts, stacked.background, expected, mask)
        )
        if area == "fit_mask":
            counts, known, source = (np.where(used, values, 0.0) for values in (counts, known, source))
        found |= {(area, background): fit(counts, known, source, norms[background]) for background in BACKGROUNDS}
    return found


@dataclass(frozen=True)
class Norms:
    """Parameters of the background, with their priors: norm and tilt, or the norms of energy bins."""

    mean: Floats
    precision: Floats
    x: Floats | None = None  # log energy relative to the reference; None for norms of energy bins

    def factors(self, values: Floats) -> tuple[Floats, Floats]:
        """Return the factors of energy bins, and their derivatives with respect to the parameters."""
        if self.x is None:
            return values, np.eye(len(values))
        norm, tilt = (*values, *(1.0, 0.0)[len(values) :])
        shape = np.exp(-tilt * self.x)
        return norm * shape, np.stack([shape, -norm * self.x * shape])[: len(values)]


def norms_of(dataset: MapDataset, background: str) -> Norms:
    """Return the parameters of the background and the priors of `set_background_priors`."""
    if background in ("fixed", "free"):
        number = int(background == "free")
        return Norms(np.ones(number), np.zeros((number, number)), np.zeros(ENERGY.nbin))
    models = set_background_priors(dataset, per_energy=background == "per energy").models
    if background == "per energy":
        (penalty,) = models._penalties
        return Norms(penalty.mean, np.linalg.inv(penalty.covariance))
    spectrum = models[-1].spectral_model
    priors = [each.prior for each in (spectrum.norm, spectrum.tilt) if each.prior]
    x = np.log((ENERGY.center / spectrum.reference.quantity).to_value(""))
    return Norms(np.array([each.mu.value for each in priors]), np.diag([each.sigma.value**-2 for each in priors]), x)


def fit(counts: Floats, known: Floats, source: Floats, norms: Norms) -> tuple[float, float]:
    """Fit the flux with the likelihood of Gammapy by Newton's method, which is faster; return it and its error, true flux 1."""
    values = np.array([1.0, *norms.mean])
    for _ in range(50):
        factors, slopes = norms.factors(values[1:])
        predicted = np.maximum(values[0] * source + known * factors[:, None], 1e-9)
        design = np.concatenate([source[None], known * slopes[:, :, None]]).reshape(len(values), -1)
        hessian, gradient = (design * (counts / predicted**2).ravel()) @ design.T, design @ (counts / predicted - 1).ravel()
        hessian[1:, 1:] += norms.precision
        gradient[1:] -= norms.precision @ (values[1:] - norms.mean)
        step = np.linalg.solve(hessian, gradient)
        values = values + step
        if np.abs(step).max() < 1e-6:
            return float(values[0]), float(np.sqrt(np.linalg.inv(hessian)[0, 0]))
    raise RuntimeError("the fit did not converge")


def difference_from_gammapy(amplitude: float) -> float:
    """Return the maximum difference of flux or error between `fit` and the fit of Gammapy, in errors, for two runs."""
    warnings.simplefilter("ignore")
    rng, expected, differences = np.random.default_rng(0), expected_source(amplitude), []
    makers = background_makers(rng, 0)
    for row in on_runs(rng, 2, 1000):
        for of_run in datasets_of_run(row, rng, makers, expected).values():
            planes = [each.data.reshape(ENERGY.nbin, -1) for each in (of_run.counts, of_run.background, expected)]
            for background in BACKGROUNDS:
                dataset = of_run.copy()
                ours = fit(*planes, norms_of(dataset, background))
                source = source_model(amplitude)
                dataset.models = [source]
                datasets = Datasets([dataset])
                if background == "free":
                    dataset.models = [source, FoVBackgroundModel(dataset_name=dataset.name)]
                elif background != "fixed":
                    datasets = set_background_priors(dataset, per_energy=background == "per energy")
                Fit().run(datasets)
                parameter = source.spectral_model.amplitude
                theirs = parameter.value / amplitude, parameter.error / amplitude
                differences.append(np.abs(np.subtract(theirs, ours)).max() / ours[1])
    return float(max(differences))


def simulate(row: Row, rng: np.random.Generator) -> Observation:
    """Simulate a run whose norm and spectral index are those of no other."""
    mean = TrueModel().spectral_index
    index = mean + rng.normal(0, TILT)
    rate = RATE * np.exp(rng.normal(-(SCATTER**2) / 2, SCATTER)) * mean / index * (THRESHOLD / PIVOT) ** (mean - index)
    model = TrueModel(trigger_rate=rate, spectral_index=index, sigma=SIGMA, energy_min=THRESHOLD, fovalign="RADEC")
    run = make_test_eventlist(row, model, seed=int(rng.integers(2**31)))
    reference = Time(row.meta["MJDREFI"], row.meta["MJDREFF"], format="mjd", scale="tt")
    columns = {"TIME": reference + run.time * u.s, "RA": run.ra * u.deg, "DEC": run.dec * u.deg, "ENERGY": run.energy * u.TeV}
    keywords = {name: row.meta[name] for name in ("MJDREFI", "MJDREFF", "TIMEUNIT", "TIMESYS", "TIMEREF", "TELESCOP")}
    return Observation(
        obs_id=run.obs_id,
        meta=ObservationMetaData(deadtime_fraction=1 - row["DEADC"]),
        aeff=AREA,
        events=EventList(Table(columns, meta=keywords)),
        gti=GTI.create(*run.gti.T * u.s, reference_time=reference),
        pointing=FixedPointingInfo(fixed_icrs=SkyCoord(run.ra_pnt, run.dec_pnt, unit="deg")),
        location=EarthLocation.from_geodetic(SITE.lon, SITE.lat, SITE.height),
    )


def on_runs(rng: np.random.Generator, n_runs: int, first: int) -> Table:
    """Make a table of runs within two hours of the culmination of the source, in wobble mode."""
    table = make_test_observation_table(n_runs=n_runs, seed=first)
    table["OBS_ID"] = first + np.arange(n_runs)
    reference, start = table.meta["MJDREFI"] + table.meta["MJDREFF"], float(table["TSTART"][0])
    times = start + np.arange(0, SIDEREAL_DAY, 60)
    altitudes = [pointing_altaz(SOURCE.ra.deg, SOURCE.dec.deg, reference + time / 86400, SITE)[0] for time in times]
    culmination = times[int(np.argmax(altitudes))]
    for number, row in enumerate(table):
        position = SOURCE.directional_offset_by(90 * (number % 4) * u.deg, WOBBLE * u.deg)
        row["RA_PNT"], row["DEC_PNT"] = position.ra.deg, position.dec.deg
        row["TSTART"] = culmination + number * SIDEREAL_DAY + rng.uniform(-7200, 7200)
        row["TSTOP"] = row["TSTART"] + row["ONTIME"]
        middle = reference + (row["TSTART"] + row["ONTIME"] / 2) / 86400
        row["ALT_PNT"], row["AZ_PNT"] = pointing_altaz(row["RA_PNT"], row["DEC_PNT"], middle, SITE)
        row["ZEN_PNT"] = 90 - row["ALT_PNT"]
    return table


if __name__ == "__main__":
    main(*(int(value) for value in [*sys.argv[1:], *("10", "2")[len(sys.argv) - 1 :]]))
