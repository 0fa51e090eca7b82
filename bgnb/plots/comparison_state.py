"""State of a view of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bgnb._util.checks import finite_number
from bgnb._util.errors import BgnbError, quoted
from bgnb.cubes.compare import Normalise
from bgnb.plots.cube_state import CubeState

Show = Literal["ratio", "difference", "pull"]
Against = Literal["energy", "offset", "DETX", "DETY"]
Labels = tuple[str, str]

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
