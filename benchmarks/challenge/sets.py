"""Sets of the challenge: directories for entries, and the hidden half of the runs to predict; see README.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from benchmarks.peers import ON
from benchmarks.usable_runs import usable_runs
from bgnb import TrueModel, make_test_dataset
from bgnb.observations.hdu_index import index_file

FOLDS = 3
PARTS = 20  # of a good time interval, a multiple of 4
HALVED = ("ONTIME", "LIVETIME")


@dataclass(frozen=True)
class Case:
    """Runs to learn from, half of the time of those to predict, and the other half, which is scored."""

    title: str
    folder: Path
    true: TrueModel | None = None

    @property
    def hidden(self) -> Path:
        """Directory of the events that are scored."""
        return self.folder.parent / f"{self.folder.name}-hidden"

    def write(self, source: Path, train: Sequence[int], test: Sequence[int]) -> "Case":
        """Write the directories."""
        copy_runs(source, self.folder / "train", train)
        copy_runs(source, self.folder / "test", test, half=0)
        copy_runs(source, self.hidden, test, half=1)
        return self


def simulated(folder: Path, seed: int, n_runs: int) -> Iterator[Case]:
    """Simulate two sets, of which a third of the runs are predicted: a field of view with gradients, and a round one."""
    for number, title in enumerate(("gradient", "round")):
        rng = np.random.default_rng([seed, number])
        shape = {"sigma": rng.uniform(2.5, 5), "spectral_index": rng.uniform(2.5, 2.9), "trigger_rate": 60.0}
        for name in ("gradient_x", "gradient_y"):
            shape[name] = rng.choice([-1, 1]) * rng.uniform(0.05, 0.15) if title == "gradient" else 0.0
        source = folder / f"{title}-source"
        own = int(rng.integers(2**31))
        make_test_dataset(source, n_runs=n_runs, alt_range=(40, 85), seed=own, progress=False, **shape)
        order = np.arange(1, n_runs + 1).tolist()
        case = Case(f"simulated, {title}", folder / title, TrueModel(**shape))
        yield case.write(source, order[n_runs // 3 :], order[: n_runs // 3])


def real(folder: Path, source: Path, seed: int) -> Iterator[Case]:
    """Divide the off runs of H.E.S.S. DL3 DR1 into folds, each of which is predicted from the others."""
    table = usable_runs(source).table
    off = [int(row["OBS_ID"]) for row in table if row["OBJECT"].strip() not in ON]
    order = np.random.default_rng(seed).permutation(off).tolist()
    for fold in range(FOLDS):
        held_out = order[fold::FOLDS]
        case = Case("H.E.S.S. DL3 DR1", folder / f"hess{fold}")
        yield case.write(source, sorted(set(order) - set(held_out)), sorted(held_out))


def copy_runs(source: Path, target: Path, obs_ids: Sequence[int], half: int | None = None) -> None:
    """Copy runs, or one half of their time, without backgrounds."""
    (target / "data").mkdir(parents=True)
    obs, hdus = (Table.read(index_file(source, f"{name}-index.fits")) for name in ("obs", "hdu"))
    obs, hdus = (table[np.isin(table["OBS_ID"], obs_ids)] for table in (obs, hdus))
    hdus = hdus[np.char.lower(np.char.strip(hdus["HDU_TYPE"].astype(str))) != "bkg"]
    for obs_id in obs_ids:
        rows = hdus[hdus["OBS_ID"] == obs_id]
        with fits.open(source / rows["FILE_DIR"][0].strip() / rows["FILE_NAME"][0].strip()) as content:
            kept = fits.HDUList([content[0], *(content[name.strip()] for name in rows["HDU_NAME"])])
            if half is not None:
                keep_half(kept, half)
            kept.writeto(target / "data" / f"run{obs_id}.fits", checksum=True)
    hdus["FILE_DIR"], hdus["FILE_NAME"] = "data", [f"run{obs_id}.fits" for obs_id in hdus["OBS_ID"]]
    if half is not None:
        for name in HALVED:
            obs[name] = obs[name] / 2
    for kind, table, unknown in (("obs", obs, "EVENT_COUNT"), ("hdu", hdus, "SIZE")):
        table.remove_columns({unknown}.intersection(table.colnames))
        table.meta = {name: value for name, value in table.meta.items() if name not in ("CHECKSUM", "DATASUM")}
        table.write(target / f"{kind}-index.fits.gz")


def keep_half(run: fits.HDUList, half: int) -> None:
    """Divide each good time interval into parts, and keep those of one half, in the order 0 1 1 0, with their events."""
    events, gti = run["EVENTS"], run["GTI"]
    edges = np.linspace(gti.data["START"], gti.data["STOP"], PARTS + 1, axis=1)
    mine = np.flatnonzero(np.isin(np.arange(PARTS) % 4, (0, 3)) == (half == 0))
    start, stop = edges[:, mine].ravel(), edges[:, mine + 1].ravel()
    time = events.data["TIME"][:, None]
    run["EVENTS"] = fits.BinTableHDU(events.data[((start <= time) & (time < stop)).any(axis=1)], events.header)
    run["EVENTS"].data["EVENT_ID"] = np.arange(1, len(run["EVENTS"].data) + 1)  # gaps would tell the number of the others
    for name in HALVED:
        run["EVENTS"].header[name] /= 2
    columns = [fits.Column(name, "D", unit="s", array=values) for name, values in (("START", start), ("STOP", stop))]
    run["GTI"] = fits.BinTableHDU.from_columns(columns, gti.header)
