"""Comparison of the files of a run with what the index states of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bgnb._util.reading import open_file
from bgnb.observations.event_list import RunFiles
from bgnb.observations.findings import Findings


def check_files(files: RunFiles, findings: Findings) -> None:
    """Note the files of a run whose size or checksum is not that in the index; files that cannot be read are ignored.

    Parameters
    ----------
    files : `~bgnb.observations.event_list.RunFiles`
        Files of the run.
    findings : `~bgnb.observations.findings.Findings`
        Receives the notes.
    """
    for path, stated in files.files.items():
        try:
            if not path.is_file():
                continue  # reading the run fails, with a message
            size = path.stat().st_size if stated.size else 0
            checksum = _md5(path) if stated.md5 else ""
        except OSError:
            continue
        if stated.md5 - {checksum}:
            findings.note(f"{path}: the index states another checksum (MD5) than the file has; was the file replaced?")
        elif size != stated.size:
            findings.note(f"{path}: the index states another size, {stated.size} bytes, than the file has, {size}")


def _md5(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "md5").hexdigest()
