"""Backgrounds of several programs compared, on simulated runs of hidden truth and on runs of H.E.S.S.; see README.md.

python -m benchmarks.challenge.run OUTDIR [--hess hess-dl3-dr1] [--seed 1] [--runs 60] --entry "NAME = COMMAND" ...
"""

import argparse
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from benchmarks.peers import ON
from benchmarks.usable_runs import usable_runs
from bgnb import (
    BgnbError,
    Cube,
    CubeAxes,
    EventList,
    Grid,
    RunPrediction,
    TrueModel,
    Validation,
    make_test_dataset,
    open_runs,
    predicted_rate,
    read_background,
    read_event_list,
    stack_runs,
)
from bgnb.cubes.rotate import rotate_to_radec
from bgnb.observations.datastore import index_file

GRID = Grid.regular()
FOLDS = 3
PARTS = 20  # of a good time interval, a multiple of 4
HALVED = ("ONTIME", "LIVETIME")
CENTRE, EDGE = GRID.offset < 1, (GRID.offset > 1.5) & (GRID.offset <= GRID.offset_max)
COLUMNS = ("set", "entry", "deviance", "dev/exp", "pred/obs", "scatter", "centre", "edge", "rms", "CPU s")


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
    """Simulate two sets, of which a third of the runs are predicted: a round field of view, and one with gradients."""
    for number, title in enumerate(("round", "gradient")):
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


def true_counts(true: TrueModel, events: EventList, pointing: tuple[float, float], frame: str) -> np.ndarray:
    """Return the expected counts of a simulated run in the bins that are compared."""
    if frame == "ALTAZ":
        return true.expected(GRID.axes, *pointing) * events.livetime
    fine = CubeAxes.regular(n_energy=40, n_fov=80, energy_min="0.1 TeV", energy_max="100 TeV", fov_max="4 deg")
    rate = rotate_to_radec(Cube(fine, true.expected(fine, *pointing) / u.s / fine.bin_volume), events)
    return predicted_rate(rate, GRID.axes) * events.livetime


def predict(case: Case, folder: Path | None) -> list[tuple[RunPrediction, np.ndarray | None]]:
    """Compare the backgrounds in a directory, or without one the truth, with the hidden events; also return true counts."""
    runs, found = open_runs(case.hidden, "GADF"), []
    for obs_id in runs.obs_ids:
        events, pointing, frame = read_event_list(runs.files(obs_id)), runs.pointing(obs_id), "ALTAZ"
        if folder is not None:
            paths = sorted(folder.glob(f"bkg_{obs_id}.fits*"))
            if len(paths) != 1:
                raise BgnbError("challenge", f"{folder}: must have one file bkg_{obs_id}.fits or bkg_{obs_id}.fits.gz, has {len(paths)}")
            rate, frame = read_background(paths[0])
            if not GRID.axes.bins_on(rate.axes).all():
                raise BgnbError("challenge", f"{paths[0]}: must cover 0.5 to 50 TeV, and 2.5 deg in DETX and DETY")
        true = None if case.true is None else true_counts(case.true, events, pointing, frame)
        expected = true if folder is None else predicted_rate(rate, GRID.axes, "gammapy") * events.stated_ontime
        stack = stack_runs([events], GRID.axes, frame)
        exposed = np.flatnonzero(stack.livetime_us.any(axis=(1, 2)))
        used = GRID.used(GRID.axes, exposed[0], exposed[-1] + 1)
        found.append((RunPrediction(obs_id, *pointing, stack.counts, expected, used, {}), true))
    return found


def score(name: str, cases: Sequence[Case], folders: Sequence[Path | None], seconds: float = np.nan) -> dict[str, str | float]:
    """Compute the figures of a row of the table from the backgrounds of all cases of a set."""
    found = [each for case, folder in zip(cases, folders, strict=True) for each in predict(case, folder)]
    validation = Validation(GRID, tuple(run for run, _ in found))
    fit = validation.fit(free_norm=True)
    figures = [fit.deviance / fit.n_runs, fit.ratio, *validation.ratio]
    if cases[0].true is None:
        figures += 3 * [np.nan]
    else:
        made, true, used = (np.stack(part) for part in zip(*((run.expected, true, run.used) for run, true in found), strict=True))
        figures += [made[used & part].sum() / true[used & part].sum() - 1 for part in (CENTRE, EDGE)]
        figures.append(np.average((made[used] / true[used] - 1) ** 2, weights=true[used]) ** 0.5)
    return dict(zip(COLUMNS, (cases[0].title, name, *figures, seconds), strict=True))


def run_entry(command: str, case: Case, folder: Path) -> float:
    """Run the command of an entry, and return its CPU time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    folder.mkdir(parents=True)
    arguments = [str(path.resolve()) for path in (case.folder / "train", case.folder / "test", folder)]
    subprocess.run([*shlex.split(command), *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def lines(rows: Sequence[dict[str, str | float]], markdown: bool) -> list[str]:
    """Format the table."""
    formats = ("", "", ".1f", ".4f", ".3f", ".3f", "+.3f", "+.3f", ".3f", ".1f")
    cells = [[format(row[name], form) for name, form in zip(COLUMNS, formats, strict=True)] for row in rows]
    cells = [list(COLUMNS), *([cell.replace("+nan", "–").replace("nan", "–") for cell in row] for row in cells)]
    if markdown:
        return ["| " + " | ".join(row) + " |" for row in (cells[0], ["---"] * len(COLUMNS), *cells[1:])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = "<<" + ">" * (len(COLUMNS) - 2)
    return ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in cells]


def draw(rows: Sequence[dict[str, str | float]], path: Path) -> None:
    """Draw deviance, and predicted over observed counts, of all entries."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["entry"] for row in rows))[::-1]
    figure = Figure(figsize=(9, 1.5 + 0.4 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    titles = list(dict.fromkeys(row["set"] for row in rows))
    for number, title in enumerate(titles):
        of_set = [row for row in rows if row["set"] == title]
        lowest = min(row["deviance"] for row in of_set)
        y = np.array([names.index(row["entry"]) for row in of_set]) + 0.2 * (number - (len(titles) - 1) / 2)
        left.plot([row["deviance"] - lowest for row in of_set], y, "o", label=title)
        ratios, scatter = ([row[name] for row in of_set] for name in ("pred/obs", "scatter"))
        right.errorbar(ratios, y, xerr=scatter, fmt="o", capsize=2)
    left.set(yticks=range(len(names)), yticklabels=names, xlabel="deviance per run − lowest of the set", xscale="symlog")
    right.set(xlabel="predicted / observed counts, mean and standard deviation of runs")
    right.axvline(1, color="grey", zorder=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(titles))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all entries on all sets, and write table and picture."""
    parser = argparse.ArgumentParser(description="Compare backgrounds; see benchmarks/challenge/README.md.")
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--hess", type=Path, help="directory of H.E.S.S. DL3 DR1; without it, only simulated sets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=45, help="number of runs of each simulated set")
    parser.add_argument("--entry", action="append", required=True, metavar='"NAME = COMMAND"')
    options = parser.parse_args()
    options.outdir.mkdir(parents=True)
    entries = dict((part.strip() for part in text.split("=", 1)) for text in options.entry)
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sets = [[case] for case in simulated(folder, options.seed, options.runs)]
        sets += [list(real(folder, options.hess, options.seed))] if options.hess else []
        for cases in sets:
            if cases[0].true is not None:
                rows.append(score("(the truth)", cases, [None]))
            for number, (name, command) in enumerate(entries.items()):
                folders = [options.outdir / "backgrounds" / case.folder.name / f"entry{number}" for case in cases]
                try:
                    seconds = sum(run_entry(command, case, to) for case, to in zip(cases, folders, strict=True))
                    rows.append(score(name, cases, folders, seconds))
                except (subprocess.CalledProcessError, BgnbError) as error:
                    print(f"{cases[0].title}, {name}: {error}", file=sys.stderr)
    text = lines(rows, markdown=False)
    print(*text, sep="\n")
    (options.outdir / "table.txt").write_text("\n".join(text) + "\n")
    (options.outdir / "table.md").write_text("\n".join(lines(rows, markdown=True)) + "\n")
    draw(rows, options.outdir / "scores.png")


if __name__ == "__main__":
    main()
