"""Quality of runs: tests against models, and the verdict for each run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import Table

from bgnb._util.errors import BgnbError, DataError
from bgnb._util.extras import require
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.files.exclusion_regions import read_exclusions
from bgnb.files.model_directory import read_models
from bgnb.files.output_directory import check_target, new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import write_report
from bgnb.observations.catalog import read_catalog
from bgnb.observations.datastore import open_runs
from bgnb.observations.event_reader import read_event_list
from bgnb.observations.run_selection import Reason, notes_on_catalog, select_runs
from bgnb.production.report import count_reasons, explain_masked
from bgnb.production.run_comparison import notes_on_used_runs
from bgnb.validation.run_check_views import MAX_SHOWN, check_view
from bgnb.validation.run_tests import TESTS, RunResult, covered_offset, run_tests
from bgnb.validation.settings import RunCheckSettings

#: Verdict on runs without alarm.
GOOD = "good"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunChecks:
    """Result of `bgnb.check_runs`.

    Parameters
    ----------
    runs : tuple of `~bgnb.validation.run_tests.RunResult`
        Results of the tested runs, in order of OBS_ID.
    false_alarm_rate : float
        Fraction of the runs without errors in which one of the tests gives an alarm.
    skipped : mapping of int to `~bgnb.observations.run_selection.Reason`
        Reasons why other runs were not tested, by OBS_ID.
    notes : tuple of str
        Notes on the runs.
    """

    runs: tuple[RunResult, ...]
    false_alarm_rate: float
    skipped: Mapping[int, Reason] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"RunChecks(good runs: {len(self.good)} of {len(self.runs)})"

    @property
    def p_limit(self) -> float:
        """Probability below which a test gives an alarm: for independent tests, the rate of all is the false alarm rate."""
        return 1 - (1 - self.false_alarm_rate) ** (1 / len(TESTS))

    @cached_property
    def alarms(self) -> dict[int, tuple[str, ...]]:
        """Names of the tests that give an alarm, by OBS_ID; empty for a good run."""
        return {run.obs_id: tuple(name for name, test in run.tests.items() if test.p_value < self.p_limit) for run in self.runs}

    @property
    def good(self) -> list[int]:
        """OBS_IDs of the runs without alarm, in order."""
        return [obs_id for obs_id, names in self.alarms.items() if not names]

    @property
    def faults(self) -> dict[int, str]:
        """Error messages of runs that cannot be used, by OBS_ID."""
        return {obs_id: reason.detail for obs_id, reason in self.skipped.items() if reason.is_error}

    def verdict(self, obs_id: int) -> str:
        """Return ``good``, or the names of the tests that give an alarm."""
        return ", ".join(self.alarms[obs_id]) or GOOD

    @property
    def table(self) -> Table:
        """One row per run: verdict, events, norm and tilt, probabilities, and the deviation with the lowest probability."""
        rows = []
        for run in self.runs:
            name = min(TESTS, key=lambda test: run.tests[test].p_value)
            lowest, norm = run.tests[name], run.norm
            probabilities = {f"P_{test.upper()}": run.tests[test].p_value for test in TESTS}
            rows.append(
                {"OBS_ID": run.obs_id, "VERDICT": self.verdict(run.obs_id), "EVENTS": run.events}
                | {"NORM": norm.norm, "NORM_ERR": norm.norm_error, "TILT": norm.tilt}
                | probabilities
                | {"TEST": name, "COUNTS": lowest.counts, "EXPECTED": lowest.expected, "SIGMA": lowest.significance}
                | {"WHERE": lowest.where}
            )
        table = Table(rows=rows)
        for name in table.colnames:
            if table[name].dtype.kind == "f":
                formats = {"EXPECTED": ".1f", "SIGMA": "+.1f"}
                table[name].info.format = formats.get(name, ".1e" if name.startswith("P_") else ".3f")
        return table

    def __str__(self) -> str:
        lines = [f"good runs: {len(self.good)} of {len(self.runs)}, at a false alarm rate of {self.false_alarm_rate:g} per run"]
        counts = Counter(name for names in self.alarms.values() for name in names)
        lines += [f"  alarm of the test {name}: {counts[name]}" for name in TESTS if counts[name]]
        if self.skipped:
            lines += [f"runs not tested: {len(self.skipped)}", *(f"  {line}" for line in count_reasons(self.skipped.values()))]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        runs = [
            {"obs_id": run.obs_id, "verdict": self.verdict(run.obs_id), "alarms": self.alarms[run.obs_id]}
            | {"alt_pnt": run.alt_pnt, "az_pnt": run.az_pnt, "events": run.events, "norm": run.norm.as_dict()}
            | {"tests": {name: asdict(test) for name, test in run.tests.items()}}
            | {name: asdict(getattr(run, name)) for name in ("time", "energy")}
            for run in self.runs
        ]
        skipped = [{"obs_id": obs_id, "reason": str(reason)} for obs_id, reason in sorted(self.skipped.items())]
        return {"runs": runs, "skipped": skipped, "p_limit": self.p_limit, "notes": self.notes}

    @property
    def run_list(self) -> str:
        """Text file of the OBS_IDs of the good runs, with the others and their alarms as comments."""
        lines = [f"# {self.verdict(obs_id)}: {obs_id}" if names else f"{obs_id}" for obs_id, names in self.alarms.items()]
        return "\n".join(lines) + "\n"


@with_settings(RunCheckSettings)
def check_runs(
    indir: str | Path,
    scheme: str,
    modeldir: str | Path,
    outdir: str | Path | None = None,
    *,
    settings: RunCheckSettings,
    overwrite: bool = False,
    progress: bool | None = None,
) -> RunChecks:
    """Check the quality of runs with models.

    There are five tests, see ``docs/explanation/run_quality.md``: ``norm`` compares the counts with the models and their
    scatter from run to run, ``time`` the rate of all events in windows of 1 to 10 min with a constant that may drift slowly,
    ``field`` the counts in sectors of the field of view with the models, ``energy`` those in ranges of energy, and
    ``source`` searches for an excess on the sky. A test gives an alarm if the probability of its result is lower than
    the share of the test in the false alarm rate.

    Parameters
    ----------
    indir : path
        Directory of the runs to check.
    scheme : str
        Its layout, see `open_runs`.
    modeldir : path
        A directory of models. An error that all their runs have in common is not found.
    outdir : path, optional
        Directory to make, with ``report.json``, plots in ``runs.html``, and in ``good_runs.txt`` the OBS_IDs of the runs
        without alarm, which ``select`` accepts.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with checks of runs.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    RunChecks
        Results of the tests, and the verdict on each run.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or no run is left.

    Examples
    --------
    >>> import bgnb
    >>> checks = bgnb.check_runs("runs", "GADF", "models", select=[1], offset_max="1.5 deg")
    >>> checks.good
    [1]
    >>> checks.verdict(1)
    'good'
    """
    if outdir is not None:
        require("plots")
        check_target(Path(outdir), overwrite=overwrite, kind="checks of runs")  # before reading
    models = read_models(modeldir)
    runs = open_runs(indir, scheme, **options_of(settings.reading)).with_on_error(settings.on_error)
    models.check_interpolable()
    catalog = read_catalog(settings.catalog)
    selection = select_runs(runs, settings.select, catalog, on_error=settings.on_error)
    mask = SourceMask.around(catalog, settings.mask_radius * u.deg) + read_exclusions(settings.exclude)
    results, skipped, covered = [], dict(selection.skipped), math.inf
    with progress_bar(len(selection.kept), "run", progress) as bar:
        for obs_id in selection.kept:
            try:
                events = read_event_list(runs.files(obs_id))
                models.check_instrument(events)
                found = models.mean_rate_for(events, settings.model_lookup)
                results.append(run_tests(models, found, events, mask, settings.offset_max))
                covered = min(covered, covered_offset(found.rate.axes))
            except DataError as error:
                if settings.on_error == "fail":
                    raise
                skipped[obs_id] = Reason.from_error(error)
            bar.update()
    runs.check_unchanged()
    if not results:
        raise BgnbError("no-runs", f"{runs.path}: none of the {len(runs)} runs is left: {explain_masked(skipped.values())}")
    used = [run.obs_id for run in results]
    counted = {run.obs_id: run.counted for run in results}
    notes = [*notes_on_used_runs(runs, counted), *models.notes_on(counted)]
    notes += notes_on_catalog(runs, used, settings.catalog)
    if shared := models.common_runs(counted.values()):
        notes.append(f"runs that contributed to the models, which hides a part of their deviations: {len(shared)}")
    if covered < settings.offset_max - 1e-6:
        notes.append(f"the models cover offsets up to {covered:g} deg; field, energy and source test no events beyond")
    if len(results) > MAX_SHOWN:
        notes.append(f"runs.html shows {MAX_SHOWN} of {len(results)} runs, those with the lowest probabilities")
    checks = RunChecks(runs=tuple(results), false_alarm_rate=settings.false_alarm_rate, skipped=skipped, notes=tuple(notes))
    if outdir is not None:
        with new_directory(
            Path(outdir), overwrite=overwrite, kind="checks of runs", inputs=(Path(indir), Path(modeldir))
        ) as directory:
            inputs = {"indir": str(indir), "scheme": scheme, "modeldir": str(modeldir)}
            write_report(directory, {"settings": inputs | settings.as_dict()} | checks.as_dict())
            write_file(directory / "runs.html", _page(checks).encode("utf-8", "replace"))
            write_file(directory / "good_runs.txt", checks.run_list.encode())
    return checks


def _page(checks: RunChecks) -> str:
    """Make an HTML page with plots of the runs, those with the lowest probabilities first."""
    from bgnb.plots.html_page import to_html  # Bokeh takes time to load

    shown = sorted(checks.runs, key=lambda run: min(test.p_value for test in run.tests.values()))[:MAX_SHOWN]
    views = {}
    for run in shown:
        verdict = f"alarm ({checks.verdict(run.obs_id)})" if checks.alarms[run.obs_id] else GOOD
        views["", f"run {run.obs_id}: {verdict}"] = check_view(run, verdict)
    return to_html(views, names=("", "run"))
