"""Backgrounds of several programs compared, on simulated runs of hidden truth and on runs of H.E.S.S.; see README.md.

python -m benchmarks.challenge.run OUTDIR [--hess hess-dl3-dr1] [--seed 1] [--runs 30] --entry "NAME = COMMAND" ...
"""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy import units as u

from benchmarks.challenge.sets import Case, real, simulated
from bgnb import (
    BgnbError,
    Cube,
    CubeAxes,
    EventList,
    Grid,
    RunPrediction,
    TrueModel,
    Validation,
    open_runs,
    predicted_rate,
    read_background,
    read_event_list,
    stack_runs,
)
from bgnb.cubes.rotate import rotate_to_radec

GRID = Grid.regular()
CENTRE, EDGE = GRID.offset < 1, (GRID.offset > 1.5) & (GRID.offset <= GRID.offset_max)
COLUMNS = ("set", "entry", "deviance", "dev/exp", "pred/obs", "scatter", "centre", "edge", "rms", "CPU s")


def true_counts(true: TrueModel, events: EventList, pointing: tuple[float, float], frame: str) -> np.ndarray:
    """Return the expected counts of a simulated run in the bins that are compared."""
    if frame == "ALTAZ":
        return true.expected(GRID.axes, *pointing) * events.livetime
    fov = np.linspace(-4, 4, 81) * u.deg
    fine = CubeAxes(GRID.axes.energy, fov, fov)
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
                raise BgnbError("not-found", f"{folder}: must have one file bkg_{obs_id}.fits or .fits.gz, has {len(paths)}")
            rate, frame = read_background(paths[0])
            if not GRID.axes.bins_on(rate.axes).all():
                raise BgnbError("invalid-argument", f"{paths[0]}: must cover 0.5 to 50 TeV, and 2.5 deg in DETX and DETY")
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
    ratios = 1 / validation.ratios  # predicted over observed
    figures = [fit.deviance / fit.n_runs, fit.ratio, ratios.mean(), ratios.std(ddof=1)]
    if cases[0].true is None:
        figures += 3 * [np.nan]
    else:
        made, used = (np.stack([getattr(run, part) for run, _ in found]) for part in ("expected", "used"))
        true = np.stack([counts for _, counts in found])
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
    left.set(yticks=range(len(names)), yticklabels=names, xlabel="deviance per run\nabove the lowest of the set")
    right.set(xlabel="predicted / observed counts\nmean and standard deviation of runs")
    right.axvline(1, color="grey", zorder=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(titles))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run all entries on all sets, and write table and picture."""
    parser = argparse.ArgumentParser(description="Compare backgrounds; see benchmarks/challenge/README.md.")
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--hess", type=Path, help="directory of H.E.S.S. DL3 DR1; without it, only simulated sets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30, help="number of runs of each simulated set; 0: none")
    parser.add_argument("--entry", action="append", required=True, metavar='"NAME = COMMAND"')
    options = parser.parse_args()
    options.outdir.mkdir(parents=True)
    entries = dict((part.strip() for part in text.split("=", 1)) for text in options.entry)
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sets = [[case] for case in simulated(folder, options.seed, options.runs)] if options.runs else []
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
    (options.outdir / "scores.json").write_text(json.dumps(rows, indent=1))
    (options.outdir / "table.txt").write_text("\n".join(text) + "\n")
    (options.outdir / "table.md").write_text("\n".join(lines(rows, markdown=True)) + "\n")
    draw(rows, options.outdir / "scores.png")


if __name__ == "__main__":
    main()
