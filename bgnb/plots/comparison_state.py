"""State of a view of two models."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from bgnb._util.checks import finite_number
from bgnb._util.errors import BgnbError, quoted
from bgnb.cubes.compare import Normalise
from bgnb.plots.cube_state import CubeState

Show = Literal["ratio", "difference", "pull"]
Against = Literal["energy", "offset", "DETX", "DETY"]
Labels = tuple[str, str]

# Maximum number of letters of a name in a plot.
_LETTERS = 24

#: Values of ratio, difference and pull for equal models.
NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}


@dataclass(frozen=True, kw_only=True)
class ComparisonState(CubeState):
    """State of `CubeState`, and how the models are compared.

    Parameters
    ----------
    show, normalise, span, against, contours, swap
        See `bgnb.dashboards.compare_models`.
    """

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None
    against: Against = "energy"
    contours: bool = False
    swap: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("contours", "swap"):
            if not isinstance(getattr(self, name), bool):
                raise BgnbError("invalid-argument", f"{name} must be true or false, got {quoted(getattr(self, name))}")
        if self.span is not None:
            self._set("span", finite_number("span", self.span))
            minimum = 1e-30 if self.show == "difference" else 1e-6
            if not minimum <= self.span <= 1e6:
                raise BgnbError("invalid-argument", f"span must be {minimum:g} to 1e6, got {self.span}")


def short_names(labels: Labels) -> Labels:
    """Omit the middle of names that are too long for plots, or their common beginning where they would become the same.

    >>> short_names(("hess_dl3_dr1_spline_2026-01-01", "classic"))
    ('hess_dl3_dr1…_2026-01-01', 'classic')
    >>> short_names(("hess_dl3_dr1_spline_2026-01-01", "hess_dl3_dr1_classic_2026-01-01"))
    ('…spline_2026-01-01', '…classic_2026-01-01')
    """
    half, common = _LETTERS // 2, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*labels, strict=False)))
    one, other = (name if len(name) <= _LETTERS else f"{name[:half]}…{name[1 - half :]}" for name in labels)
    if one != other or labels[0] == labels[1]:
        return one, other
    one, other = (f"…{name[common:][: _LETTERS - 1]}" for name in labels)
    return one, other
