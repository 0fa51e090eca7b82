"""Values of thousands of digits or letters, which messages do not quote in full."""

from __future__ import annotations

import pytest

from bgnb import BgnbError, make_models, open_runs, read_exclusions
from bgnb._util.checks import checked_choice, checked_obs_ids, finite_number, numbers_in, to_value, whole_number
from bgnb._util.errors import numbered, quoted
from bgnb._util.reading import parse_json
from bgnb.observations.groups import observation_groups
from bgnb.observations.run_selection import select_runs
from tests.helpers.run_files import run, write_gadf
from tests.helpers.time_limit import time_limit

# Python does not convert numbers of more than 4300 digits to text, nor back.
HUGE = 10**5000
VALUES = [HUGE, 10**4000, "9" * 5000, [HUGE], "x" * 1_000_000]


def test_texts_of_files_are_quoted_in_part(tmp_path):
    """A message about a long line of a file keeps its beginning and its end."""
    path = tmp_path / "long.reg"
    path.write_text(f"fk5 {'xx ' * 80_000}\n")
    with pytest.raises(BgnbError) as caught:
        read_exclusions(path)
    text = caught.value.message
    assert len(text) < 11_000
    assert text.startswith(f"{path}, line 1: ")
    assert text.endswith("put a semicolon between them")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "check",
    [
        lambda value: checked_choice("show", value, ("ratio", "pull")),
        lambda value: finite_number("low", value),
        lambda value: finite_number("energy", value, "TeV"),
        lambda value: to_value("radius", value, "deg"),
        lambda value: whole_number("workers", value),
        lambda value: checked_obs_ids("selected", value),
        lambda value: numbers_in(str(value) if isinstance(value, str) else "-1", "an OBS_ID"),
        lambda value: make_models("in", "GADF", method=value),
        lambda value: make_models("in", "GADF", n_energy=value),
        lambda value: make_models("in", "GADF", select=value if isinstance(value, str) else [value, "x"]),
    ],
)
def test_messages_are_short(check, value):
    """A message quotes the beginning of a value."""
    with pytest.raises(BgnbError) as caught:
        check(value)
    assert len(str(caught.value)) < 500


def test_repeated_name_among_many():
    """The name that an object of JSON repeats is found in a time that does not grow as the square of their number."""
    names = ",".join(f'"{number}": 0' for number in range(100_000))
    with time_limit(), pytest.raises(ValueError, match="'99999' is given twice"):
        parse_json(f'{{{names}, "99999": 1}}')


def test_edges_and_runs(tmp_path):
    """Edges that are not floats, and OBS_IDs of any size, are refused."""
    with pytest.raises(BgnbError, match=r"alt_edges must be two or more increasing angles, got .*thousands of digits"):
        observation_groups([HUGE], None)
    with pytest.raises(BgnbError, match=r"two or more increasing angles, got 0,0,.*… deg") as caught:
        observation_groups(100_000 * [0], None)
    assert len(str(caught.value)) < 500
    with pytest.raises(BgnbError, match=r"must be a list of OBS_IDs, got .*thousands of digits"):
        select_runs(open_runs(write_gadf(tmp_path / "in", [run(1, 10)]), "GADF"), [HUGE])


def test_usual_values_are_quoted_in_full():
    """Texts, numbers and lists that people enter are not shortened."""
    for value in ("circle(1, 2, 3)", 12345678901234567890, [1, 2, 3], (0.5, 1e300), None, {"a": 1}):
        assert quoted(value) == repr(value)
    assert numbered("run", [4, 8]) == "runs 4, 8"
    assert numbers_in("1, 2\n٣", "an OBS_ID") == (1, 2, 3)
