"""Settings from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bgnb._util.errors import BgnbError, DataError
from bgnb._util.reading import decoded, read_bytes, read_json
from bgnb._util.settings_groups import SettingsGroup, stored_options

# Maximum size of a TOML file of settings, bytes.
_TOML_MAX = 1 << 20
_MANY_PARTS = re.compile(r"""(\.\s*[\w"'-]+\s*){100}""")


def read_config(path: Path, group: type[SettingsGroup]) -> dict[str, Any]:
    """Read settings from a TOML file, or from the ``report.json`` of an earlier production.

    Raises
    ------
    BgnbError
        If the file cannot be read, or has an unknown setting or an invalid value.
    """
    try:
        stored = _read_report(path) if path.suffix == ".json" else _read_toml(path)
        options = stored_options(group, stored)
        for name, value in options.items():
            if value is not None:
                group.declared()[name].metadata["declaration"].kind.check(name, value)
    except DataError:
        raise
    except BgnbError as error:
        raise BgnbError(error.code, f"{path}: {error.message}") from None
    except OSError as error:
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise BgnbError(code, f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        kinds = "a TOML file of settings or a report.json of bgnb"
        raise BgnbError("bad-config", f"{path}: is not {kinds}: {error}") from None
    return options


def _read_report(path: Path) -> dict[str, Any]:
    report = read_json(path)
    if not isinstance(report, dict) or not isinstance(report.get("settings"), dict):
        raise ValueError("it has no object 'settings'")
    return report["settings"]


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    text = decoded(read_bytes(path, _TOML_MAX))
    if _MANY_PARTS.search(text):  # for which tomllib takes memory that grows as the square of their number
        raise ValueError("a key has too many parts")
    return tomllib.loads(text)
