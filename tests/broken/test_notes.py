"""Harmless inconsistencies: the run is used, and a note describes them."""

import pytest
from astropy.table import vstack

from bgnb import open_runs, read_event_list
from tests.broken.directory import (
    CHANGED,
    EVENTS,
    both,
    good_totals,
    in_bytes,
    in_header,
    in_index,
    in_location,
    in_row,
    make_models,
    totals,
    with_whole_card,
)


def repeated(table):
    return vstack([table, table[table["OBS_ID"] == CHANGED]], metadata_conflicts="silent")


def no_gti(table):
    return table[~((table["OBS_ID"] == CHANGED) & (table["HDU_TYPE"] == "gti"))]


def with_name_in_latin_1(content):
    return with_whole_card(content, "TELESCOP", "OBSERVER= 'Jürgen  '")


def with_livetime_twice(content):
    return with_whole_card(content, "HDUCLASS", "LIVETIME=               9999.0")


def with_event_counts(table):
    table["EVENT_COUNT"] = [7 if obs_id == CHANGED else EVENTS[obs_id] for obs_id in table["OBS_ID"].tolist()]


def unknown_run(table):
    table.add_row([99, "events", "events", "data", "run99.fits.gz", "events"])


def unknown_run_in_files_of_others(table):
    table.add_row([99, "events", "events", "data", "run2.fits.gz", "other"])
    table.add_row([99, "events", "events", "data", "run4.fits.gz", "events"])


NOTES_OF_A_RUN = {
    "no good time intervals": (in_index("hdu-index", no_gti), "HDU GTI", "whole run"),
    "livetime of the index differs": (in_row(LIVETIME=1000.0), "LIVETIME of the index"),
    "AEFF taken over from another run": (in_header("AEFF", OBS_ID=5), "OBS_ID is 5", "AEFF"),
    "number of events in the index": (in_index("obs-index", with_event_counts), "EVENT_COUNT of the index"),
    "ONTIME of the whole run": (in_header(ONTIME=2000.0, DEADC=0.895), "ONTIME", "LIVETIME and DEADC"),
    "header in Latin-1": (in_bytes(with_name_in_latin_1), "not ASCII"),
    "keyword twice": (
        both(in_header(HDUCLASS=None), in_header(HDUCLASS="GADF"), in_bytes(with_livetime_twice)),
        "keyword LIVETIME",
        "more than once",
    ),
    "HDU of another name": (in_location("events", HDU_NAME="EVT"), "HDU EVT", "EVENTS"),
    "good time intervals of another name": (in_location("gti", HDU_NAME="TIMES"), "HDU TIMES", "GTI"),
}
NOTES_OF_THE_INDEX = {
    "a row twice": (in_index("obs-index", repeated), "row of run 4", "more than once"),
    "a location twice": (in_index("hdu-index", repeated), "events of run 4", "more than once"),
    "unknown run": (in_index("hdu-index", unknown_run), "hdu-index.fits.gz, HDU 1", "obs-index.fits.gz", "99"),
    "unknown run in files of others": (
        in_index("hdu-index", unknown_run_in_files_of_others),
        "hdu-index.fits.gz, HDU 1",
        "obs-index.fits.gz",
        "99",
    ),
}


@pytest.mark.parametrize("name", NOTES_OF_A_RUN)
def test_notes_of_a_used_run(indir, tmp_path, name):
    """Use the run in full, with one note; other runs have none."""
    change, *words = NOTES_OF_A_RUN[name]
    change(indir)
    assert totals(make_models(indir, tmp_path / "out")) == good_totals(*EVENTS)
    runs = open_runs(indir, "GADF")
    (note,) = read_event_list(runs.files(CHANGED)).notes
    assert all(word in note for word in words), note
    assert read_event_list(runs.files(2)).notes == ()


@pytest.mark.parametrize("name", NOTES_OF_THE_INDEX)
def test_notes_of_a_used_index(indir, tmp_path, name):
    """Use all runs in full, with a note on the index."""
    change, *words = NOTES_OF_THE_INDEX[name]
    change(indir)
    assert totals(make_models(indir, tmp_path / "out")) == good_totals(*EVENTS)
    notes = open_runs(indir, "GADF").notes
    assert any(all(word in note for word in words) for note in notes), notes


def test_good_runs_have_no_notes(good_runs):
    """Raise no warnings for good input."""
    runs = open_runs(good_runs, "GADF")
    assert runs.notes == ()
    assert all(read_event_list(runs.files(obs_id)).notes == () for obs_id in EVENTS)
