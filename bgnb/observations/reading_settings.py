"""Settings on how runs are read: which statement about a run is used, and which checks it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bgnb._util.errors import BgnbError
from bgnb._util.setting_kinds import Choice, Choices, Kind
from bgnb._util.settings_groups import SettingsGroup, setting

#: Layout of a directory of runs.
Scheme = Literal["GADF", "HESS", "FILES"]
#: Statements that can be trusted where others contradict them.
TRUSTED = ("header", "index", "livetime")
#: Codes of checks that a run may fail.
ALLOWED = (
    "ambiguous-hdu",
    "bad-energy",
    "bad-position",
    "bad-quality",
    "bad-threshold",
    "damaged",
    "drifting",
    "duplicate-column",
    "duplicate-events",
    "duplicate-run",
    "gap",
    "inconsistent-pointing",
    "low-rate",
    "missing-hdu",
    "missing-livetime",
    "mirrored",
    "path-variables",
    "unsupported-mode",
    "wrong-run",
)


@dataclass(frozen=True)
class _Condition(Kind):
    """A condition on events."""

    def check(self, name: str, value: Any) -> str:
        """Return the condition in a standard form."""
        from bgnb.observations.event_selection import EventSelection

        return EventSelection(str(value)).condition


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(SettingsGroup):
    """Settings on how runs are read."""

    pointing: Any = setting(
        Choice(lambda: ("auto", "header", "computed")),
        "auto",
        help="Source of the altitude and azimuth. Computed from RA_PNT, DEC_PNT, time and site (auto, computed), or as "
        "stated in header or index (header), for data whose times are placeholders; DETX and DETY are then in the frame RADEC. "
        "With auto, runs that point below the horizon are refused.",
    )
    trust: Any = setting(
        Choices(lambda: TRUSTED),
        (),
        metavar="header|index|livetime",
        help="Statement about a run to use where others contradict it. It is the pointing of the header, that of the index, "
        "or LIVETIME.",
    )
    allow: Any = setting(
        Choices(lambda: ALLOWED),
        (),
        metavar="CODE",
        help="Check that runs may fail, by the code in the message. They are then used with a note.",
    )
    events: Any = setting(
        _Condition(),
        None,
        metavar="CONDITION",
        help="Condition on the columns of events, such as 'GAMMANESS > 0.7 and EVENT_TYPE & 1'; other events do not count.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if {"header", "index"} <= set(self.trust):
            raise BgnbError("conflicting-arguments", "trust = header contradicts trust = index; give one of them")
