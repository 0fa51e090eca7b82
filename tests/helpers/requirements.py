"""Requirements of bgnb, as stated in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def extra(name: str) -> set[str]:
    """Return the requirements of an extra, with those of the extras in it."""
    found = set()
    for text in PROJECT["optional-dependencies"][name]:
        requirement = Requirement(text)
        parts = [extra(part) for part in requirement.extras] if requirement.name == "bgnb" else [{text}]
        found |= set().union(*parts)
    return found


def everything() -> set[str]:
    """Return all requirements of ``bgnb[all]``."""
    return {*PROJECT["dependencies"], *extra("all")}
