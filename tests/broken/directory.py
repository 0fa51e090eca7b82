"""Small directory of runs with known totals, and functions that change it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from bgnb import Report, make_bg_cube_models, open_runs, read_event_list, read_model
from tests.helpers.files import names
from tests.helpers.run_files import ONTIME, TSTART, gti_hdu, run, write_gadf

#: Events of each run, all of which are counted; each set of runs has a different sum.
EVENTS = {2: 40, 4: 50, 8: 80}
#: Livetime of each run, s.
LIVETIME = {2: 1502.0, 4: 1504.0, 8: 1508.0}
#: The run that is changed.
CHANGED = 4

Change = Callable[[Path], object]


def parts_of_run(obs_id: int, **changes: Any) -> dict[str, Any]:
    """Make a run whose events all lie inside axes and good time, and above the threshold."""
    parts = run(obs_id, 1, **{"pointing": (75.0, 30.0)} | changes)
    if "events" not in changes:
        rng, n_events = np.random.default_rng(obs_id), EVENTS[obs_id]
        parts["events"] = {
            "EVENT_ID": np.arange(n_events) + 1.0,
            "TIME": np.sort(rng.uniform(TSTART, TSTART + ONTIME, n_events)),
            "RA": parts["RA_PNT"] + rng.uniform(0.2, 1.5, n_events),
            "DEC": parts["DEC_PNT"] + rng.uniform(0.1, 1, n_events),
            "ENERGY": 10 ** rng.uniform(0, 1, n_events),
        }
    return parts


def write_runs(indir: Path) -> Path:
    """Write three good runs in scheme GADF."""
    return write_gadf(indir, [parts_of_run(obs_id) for obs_id in EVENTS])


def make_models(indir: Path, outdir: Path) -> Report:
    """Make models with few bins; assert that each group is the sum of its runs, in the report and in its file."""
    report = make_bg_cube_models(indir, "GADF", outdir, select="all", method="unsmoothed", n_energy=6, n_fov=4)
    for group in report.groups:
        counted = [entry.counted for entry in report.runs if entry.group_id == group.group_id and entry.counted]
        stack = read_model(outdir / group.files[0]).stack
        assert stack.counts.sum() == group.counts == sum(one.counts for one in counted)
        assert stack.livetime.max().value == group.livetime_s == sum(one.livetime_s for one in counted)
    assert names(outdir.parent) == {indir.name, outdir.name}
    return report


def totals(report: Report) -> dict[int, tuple[int, float]]:
    """Return counts and livetime of each run used."""
    return {entry.obs_id: (entry.counted.counts, entry.counted.livetime_s) for entry in report.runs if entry.reason is None}


def good_totals(*obs_ids: int) -> dict[int, tuple[int, float]]:
    """Return the expected `totals` if these runs are used."""
    return {obs_id: (EVENTS[obs_id], LIVETIME[obs_id]) for obs_id in obs_ids}


def assert_skipped(indir: Path, outdir: Path, code: str, *words: str) -> None:
    """Assert that the changed run is skipped with this error code and these words, and that the totals of others stay."""
    report = make_models(indir, outdir)
    assert totals(report) == good_totals(*(EVENTS.keys() - {CHANGED}))
    assert list(report.faults) == [CHANGED]
    message = report.faults[CHANGED]
    assert message.isprintable()  # one line, without terminal escape sequences
    assert message.endswith(f"[{code}]"), message
    for word in words:
        assert word in message, message


def file_of(indir: Path, obs_id: int = CHANGED) -> Path:
    """Return the path of the file of a run."""
    return indir / "data" / f"run{obs_id}.fits.gz"


def in_hdus(change: Callable[[fits.HDUList], object], checksum: bool = False) -> Change:
    """Change the HDUs of the run."""

    def apply(indir: Path) -> None:
        with fits.open(file_of(indir)) as hdus:
            change(hdus)
            hdus.writeto(file_of(indir), overwrite=True, checksum=checksum)

    return apply


def in_header(hdu: str = "EVENTS", **keywords: Any) -> Change:
    """Set keywords of the run; None deletes them."""

    def change(hdus: fits.HDUList) -> None:
        for keyword, value in keywords.items():
            if value is None:
                del hdus[hdu].header[keyword]
            else:
                hdus[hdu].header[keyword] = value

    return in_hdus(change)


def in_columns(hdu: str = "EVENTS", change: Callable[[Table], object] = lambda table: None) -> Change:
    """Change the table of an HDU of the run, whose other keywords stay."""

    def apply(hdus: fits.HDUList) -> None:
        table = Table(hdus[hdu].data)
        for column in hdus[hdu].columns:
            table[column.name].unit = column.unit
        changed = change(table)
        new = fits.table_to_hdu(table if changed is None else changed)
        for card in hdus[hdu].header.cards:
            if card.keyword not in new.header and not card.keyword.startswith(("TTYPE", "TFORM", "TUNIT", "TFIELDS")):
                new.header.append(card)
        hdus[hdu] = new

    return in_hdus(apply)


def with_column(name: str, values: Callable[[Table], Any], unit: str | None = None, hdu: str = "EVENTS") -> Change:
    """Put values into a column of the run."""

    def change(table: Table) -> None:
        unit_before = table[name].unit if name in table.colnames else None
        table[name] = values(table)
        table[name].unit = unit or unit_before

    return in_columns(hdu, change)


def in_bytes(change: Callable[[bytes], bytes], decompressed: bool = True) -> Change:
    """Change the decompressed or compressed bytes of the file of the run."""

    def apply(indir: Path) -> None:
        path = file_of(indir)
        content = path.read_bytes()
        path.write_bytes(gzip.compress(change(gzip.decompress(content)), 1) if decompressed else change(content))

    return apply


def in_card(keyword: str, value: str, hdu: str = "EVENTS") -> Change:
    """Set the value of a card to any text, including what astropy would not write."""
    return in_bytes(lambda content: with_card(content, keyword, value, hdu))


def with_card(content: bytes, keyword: str, value: str, hdu: str = "EVENTS") -> bytes:
    """Replace the value of a keyword of an HDU by a text."""
    return with_whole_card(content, keyword, f"{keyword:<8}= {value}", hdu)


def with_whole_card(content: bytes, keyword: str, card: str, hdu: str = "EVENTS") -> bytes:
    """Replace a card of an HDU by another card."""
    header = content.rindex(b"XTENSION", 0, content.index(f"EXTNAME = '{hdu} ".encode()))
    start = content.index(f"{keyword:<8}= ".encode(), header)
    return content[:start] + f"{card:<80}".encode("latin-1") + content[start + 80 :]


def in_index(name: str, change: Callable[[Table], Table | None]) -> Change:
    """Change ``obs-index`` or ``hdu-index``."""

    def apply(indir: Path) -> None:
        path = indir / f"{name}.fits.gz"
        table = Table.read(path)
        changed = change(table)
        (table if changed is None else changed).write(path, overwrite=True)

    return apply


def in_row(obs_id: int = CHANGED, **values: Any) -> Change:
    """Put values into the row of a run in ``obs-index``."""

    def change(table: Table) -> None:
        for name, value in values.items():
            table[name][table["OBS_ID"] == obs_id] = value

    return in_index("obs-index", change)


def in_location(kind: str = "", obs_id: int = CHANGED, **values: str) -> Change:
    """Put text into the rows of a run in ``hdu-index``, of one kind or all kinds."""

    def change(table: Table) -> None:
        for name, value in values.items():
            old = zip(table["OBS_ID"], table["HDU_TYPE"], table[name], strict=True)
            new = [value if (number, kind or one) == (obs_id, one) else text for number, one, text in old]
            table[name] = np.char.encode(new, "utf-8")  # astropy writes ASCII text only

    return in_index("hdu-index", change)


def moved_to(file_name: str, file_dir: str = "data") -> Change:
    """Rename the file of the run, also in the index."""

    def apply(indir: Path) -> None:
        target = indir / file_dir / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        file_of(indir).rename(target)
        in_location(FILE_DIR=file_dir, FILE_NAME=file_name)(indir)

    return apply


def both(*changes: Change) -> Change:
    """Apply changes one after the other."""

    def apply(indir: Path) -> None:
        for change in changes:
            change(indir)

    return apply


def gti_in_another_file(indir: Path) -> None:
    """Move the good time intervals of the run to ``times.fits``."""
    in_hdus(lambda hdus: hdus.pop("GTI"))(indir)
    fits.HDUList([fits.PrimaryHDU(), gti_hdu(parts_of_run(CHANGED))]).writeto(indir / "data" / "times.fits")
    in_location("gti", FILE_NAME="times.fits")(indir)


def detxy(sign: int) -> Change:
    """Add columns DETX and DETY as another program may compute them; they are right with sign 1."""

    def apply(indir: Path) -> None:
        events = read_event_list(open_runs(indir, "GADF").files(CHANGED))
        detx, dety = events.detxy("ALTAZ")

        def add(table: Table) -> None:
            table["DETX"], table["DETY"] = sign * detx, dety
            table["DETX"].unit = table["DETY"].unit = "deg"

        in_columns(change=add)(indir)

    return apply
