"""Two directories of models: the groups that both have, and names for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bgnb._util.errors import BgnbError
from bgnb.files.model_directory import ModelSet


def common_groups(first: ModelSet, second: ModelSet) -> list[int]:
    """GROUP_IDs that two directories have in common.

    Raises
    ------
    BgnbError
        Where there are none, or they mean different things.
    """
    if first.has_groups and second.has_groups and first.groups != second.groups:
        raise BgnbError(f"{first.path} and {second.path} have different groups, so that their GROUP_IDs mean different things")
    if not (common := sorted(set(first.group_ids) & set(second.group_ids))):
        raise BgnbError(f"{first.path} and {second.path} have no group in common: {first.group_ids} and {second.group_ids}")
    return common


def checked_labels(labels: Sequence[str] | None, first: Path, second: Path) -> tuple[str, str]:
    """Names of two directories; by default their own, with the directory above where they are the same.

    Raises
    ------
    BgnbError
        Where they are not two.
    """
    if labels is None:
        one, other = first.resolve(), second.resolve()
        if one.name != other.name:
            return one.name, other.name
        return f"{one.parent.name}/{one.name}", f"{other.parent.name}/{other.name}"
    if not isinstance(labels, tuple | list) or len(labels) != 2:
        raise BgnbError(f"labels must be the names of both, got {labels!r}")
    return str(labels[0]), str(labels[1])
