"""Outcome of the checks on a run: notes, and refusals that settings may turn into notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bgnb._util.errors import DataError, numbered
from bgnb.observations.reading_settings import ALLOWED, ReadingSettings


@dataclass(frozen=True)
class Findings:
    """Notes on a run, and its refusals.

    Parameters
    ----------
    reading : `~bgnb.observations.reading_settings.ReadingSettings`
        Which checks the run may fail.
    notes : list of str
        Notes so far.
    strict : path or None
        File of the run, if a note is an error (``on_error="fail"``).
    """

    reading: ReadingSettings
    notes: list[str] = field(default_factory=list)
    strict: Path | None = None

    def note(self, text: str, *, requested: bool = False) -> None:
        """Add a note, which is an error with ``strict``, unless it describes what the user requested.

        Raises
        ------
        DataError
            The note, with ``strict``.
        """
        if self.strict is not None and not requested:
            raise error_of_note(self.strict, text)
        if text not in self.notes:
            self.notes.append(text)

    def refuse(self, error: DataError) -> None:
        """Raise an error, or note it if its code is allowed.

        Raises
        ------
        DataError
            The error, with the option that allows it.
        """
        if error.code in self.reading.allow:
            self.note(f"allowed ({error.code}): {error.message}", requested=True)
            return
        advice = f"; --allow {error.code} uses it nevertheless" if error.code in ALLOWED else ""
        raise DataError(error.code, f"{error.message}{advice}")


class IndexNote(str):
    """Note on the index of runs that is an error with ``on_error="fail"``.

    Parameters
    ----------
    text : str
        The note.
    obs_ids : iterable of int
        Runs concerned; none if they are not in the index of runs.
    """

    obs_ids: frozenset[int]

    def __new__(cls, text: str, obs_ids: Iterable[int] = ()) -> Self:
        """Make the note."""
        note = super().__new__(cls, text)
        note.obs_ids = frozenset(obs_ids)
        return note


def notes_of_runs(notes: Mapping[int, Iterable[str]]) -> list[str]:
    """Return the notes on runs, given by OBS_ID, each with all runs concerned.

    >>> notes_of_runs({1: ["DEADC is 0; it is ignored"], 2: ["DEADC is 0; it is ignored"]})
    ['DEADC is 0; it is ignored: runs 1, 2']
    """
    affected: dict[str, list[int]] = {}
    for obs_id, of_run in notes.items():
        for note in of_run:
            affected.setdefault(note, []).append(obs_id)
    return [f"{note}: {numbered('run', obs_ids)}" for note, obs_ids in affected.items()]


def error_of_note(where: Path, text: str) -> DataError:
    """Make the error that a note is with ``on_error="fail"``; ``where`` is named unless the note does so."""
    place = "" if str(where) in text else f"{where}: "
    return DataError("noted", f"{place}{text}; --on-error skip accepts it, with a note")
