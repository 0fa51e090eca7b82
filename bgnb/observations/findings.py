"""Outcome of the checks on a run: notes, and refusals that settings may turn into notes."""

from __future__ import annotations

from dataclasses import dataclass, field

from bgnb._util.errors import DataError
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
    """

    reading: ReadingSettings
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note."""
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
            self.note(f"allowed ({error.code}): {error.message}")
            return
        advice = f"; --allow {error.code} uses it nevertheless" if error.code in ALLOWED else ""
        raise DataError(error.code, f"{error.message}{advice}")
