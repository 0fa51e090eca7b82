"""What is odd and can be borne: the run is used, and a note says so."""

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


def twice(content):
    return with_whole_card(content, "HDUCLASS", "LIVETIME=               9999.0")


def with_event_counts(table):
    table["EVENT_COUNT"] = [7 if obs_id == CHANGED else EVENTS[obs_id] for obs_id in table["OBS_ID"].tolist()]


def unknown_run(table):
    table.add_row([99, "events", "events", "data", "run99.fits.gz", "events"])


def unknown_run_in_files_of_others(table):
    table.add_row([99, "events", "events", "data", "run2.fits.gz", "other"])
    table.add_row([99, "events", "events", "data", "run4.fits.gz", "events"])


NOTES_OF_A_RUN = {
    "no good time intervals": (
        in_index("hdu-index", no_gti),
        "there are no good time intervals (HDU GTI), and the whole run is taken for good",
    ),
    "livetime of the index differs": (
        in_row(LIVETIME=1000.0),
        "LIVETIME of the index differs from that of the events, which is used",
    ),
    "number of events in the index": (
        in_index("obs-index", with_event_counts),
        "EVENT_COUNT of the index differs from the number of events; is the list cut, or doubled?",
    ),
    "ONTIME of the whole run": (
        in_header(ONTIME=2000.0, DEADC=0.895),
        "ONTIME is not the sum of the good time intervals; LIVETIME and DEADC fit them, and are believed",
    ),
    "header in Latin-1": (in_bytes(with_name_in_latin_1), "a header has characters that are not ASCII"),
    "keyword twice": (
        both(in_header(HDUCLASS=None), in_header(HDUCLASS="GADF"), in_bytes(twice)),
        "keyword LIVETIME stands in a header more than once, and the first is used",
    ),
    "HDU of another name": (
        in_location("events", HDU_NAME="EVT"),
        "the index names HDU EVT, which is not there, and EVENTS is read",
    ),
    "good time intervals of another name": (
        in_location("gti", HDU_NAME="TIMES"),
        "the index names HDU TIMES, which is not there, and GTI is read",
    ),
}
NOTES_OF_THE_INDEX = {
    "a row twice": (in_index("obs-index", repeated), "the index has the same row of run 4 more than once"),
    "a location twice": (
        in_index("hdu-index", repeated),
        "the index names the events of run 4 more than once, and the first is used",
    ),
    "unknown run": (in_index("hdu-index", unknown_run), "runs that obs-index.fits.gz lacks, which are not used: 99"),
    "unknown run in files of others": (
        in_index("hdu-index", unknown_run_in_files_of_others),
        "runs that obs-index.fits.gz lacks, which are not used: 99",
    ),
}


@pytest.mark.parametrize("name", NOTES_OF_A_RUN)
def test_the_run_is_used_and_has_a_note(indir, tmp_path, name):
    change, note = NOTES_OF_A_RUN[name]
    change(indir)
    assert totals(make_models(indir, tmp_path / "out")) == good_totals(*EVENTS)
    runs = open_runs(indir, "GADF")
    assert list(read_event_list(runs.files(CHANGED)).notes) == [note]
    assert read_event_list(runs.files(2)).notes == ()


@pytest.mark.parametrize("name", NOTES_OF_THE_INDEX)
def test_the_runs_are_used_and_the_index_has_a_note(indir, tmp_path, name):
    change, note = NOTES_OF_THE_INDEX[name]
    change(indir)
    assert totals(make_models(indir, tmp_path / "out")) == good_totals(*EVENTS)
    assert any(one.endswith(note) for one in open_runs(indir, "GADF").notes)


def test_good_runs_have_no_notes(good_runs):
    runs = open_runs(good_runs, "GADF")
    assert runs.notes == ()
    assert all(read_event_list(runs.files(obs_id)).notes == () for obs_id in EVENTS)
