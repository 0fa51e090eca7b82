"""Saved states of dashboards, as text or in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bgnb._util.errors import BgnbError, DataError, quoted
from bgnb._util.reading import parse_json, read_text

_SAVED = "use the text of dashboard.json, or a file written by dashboard.save_json"


def parse_state(saved: Any) -> tuple[str, dict[str, Any]]:
    """Read the kind of dashboard and the fields of a saved state.

    Parameters
    ----------
    saved : str or path
        Text of ``dashboard.json``, or a file with it.

    Raises
    ------
    BgnbError
        If it is neither.
    """
    if not isinstance(saved, str | Path) or not str(saved).strip():
        raise BgnbError("invalid-argument", f"a saved state must be text or a file, got {quoted(saved)}; {_SAVED}")
    is_file = isinstance(saved, Path) or not saved.lstrip().startswith("{")
    where = f"{saved}"[: 300 if is_file else 80]
    text = _read_saved(Path(saved), where) if is_file else str(saved)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise BgnbError("invalid-argument", f"{where}: is not a saved state: {error}; {_SAVED}") from None
    content = content if isinstance(content, dict) else {}
    if not isinstance(content.get("dashboard"), str) or not isinstance(content.get("state"), dict):
        wanted = "'dashboard', the name of a function, and 'state', an object"
        raise BgnbError("invalid-argument", f"{where}: is not a saved state: it must contain {wanted}; {_SAVED}")
    return content["dashboard"], content["state"]


def _read_saved(path: Path, where: str) -> str:
    """Read the file of a saved state."""
    code, wrong = "not-found", "is neither a file nor the text of a saved state, which begins with {"
    try:
        return read_text(path)
    except DataError as error:
        raise BgnbError(error.code, f"{error.message}; for a saved state, {_SAVED}") from None
    except PermissionError:
        code, wrong = "unreadable", "is a saved state that you have no permission to read"
    except UnicodeDecodeError:
        code, wrong = "invalid-argument", "is not a saved state: it is not text"
    except (OSError, ValueError):  # the path does not exist, or cannot
        pass
    raise BgnbError(code, f"{where}: {wrong}; {_SAVED}")
