"""Make a scratch directory of N_RUNS runs: those of DIRECTORY that bgnb does not refuse, repeated under new OBS_IDs.

    python benchmarks/replicate.py DIRECTORY SCRATCH N_RUNS

Each event list is copied once, without the keyword OBS_ID, and the runs are hard links to the copies; other files of a run
are referred to. Tables and reading times are those of real runs; the disk space is that of the original runs.
bgnb refuses repeated runs, unless it is called with ``--allow duplicate-run``.
"""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table, unique
from usable_runs import usable_runs

from bgnb._util.compression import MAGIC, decompress
from bgnb.observations.hdu_index import index_file

_CARD = 80


def replicate(directory: Path, scratch: Path, n_runs: int, copies: Path | None = None) -> Path:
    """Make ``scratch``, a directory of ``n_runs`` runs in scheme GADF, numbered from 1.

    Parameters
    ----------
    directory : path
        The runs to repeat, in turn, in the order of OBS_ID.
    scratch : path
        Directory to make.
    n_runs : int
        Number of runs.
    copies : path, optional
        Folder for the copies, on the same disk; existing copies are used again.
    """
    runs = usable_runs(directory)
    obs, hdus = (Table.read(index_file(directory, f"{name}.fits")) for name in ("obs-index", "hdu-index"))
    obs = unique(obs[np.isin(obs["OBS_ID"], runs.obs_ids)], "OBS_ID")  # sorted
    originals = [hdus[hdus["OBS_ID"] == obs_id] for obs_id in obs["OBS_ID"]]
    copies = copies or scratch / "copies"
    (scratch / "runs").mkdir(parents=True)
    copies.mkdir(exist_ok=True)
    targets, own = [], []
    for obs_id, rows in zip(obs["OBS_ID"].tolist(), originals, strict=True):
        source = runs.files(obs_id).events.path
        files = [directory / row["FILE_DIR"] / row["FILE_NAME"] for row in rows]
        own.append([file.resolve() == source.resolve() for file in files])
        rows["FILE_DIR"] = [os.path.relpath(file.parent, scratch) for file in files]
        targets.append(copies / f"{obs_id}.fits.gz")
        if not targets[-1].exists():
            targets[-1].write_bytes(gzip.compress(without_obs_id(source), mtime=0))
    turn = np.arange(n_runs) % len(obs)
    for number, original in enumerate(turn):
        os.link(targets[original], scratch / "runs" / file_name(number))
    obs = obs[turn]
    obs["OBS_ID"] = np.arange(1, n_runs + 1)
    repeated = np.concatenate([original.as_array() for original in (originals[i] for i in turn)])
    number = np.repeat(np.arange(n_runs), [len(originals[i]) for i in turn])
    hdus = Table(repeated, meta=hdus.meta)
    hdus["OBS_ID"] = number + 1
    copied = np.concatenate([own[i] for i in turn])
    hdus["FILE_DIR"] = np.where(copied, "runs", hdus["FILE_DIR"])
    hdus["FILE_NAME"] = np.where(copied, [file_name(one) for one in number], hdus["FILE_NAME"])
    for name, table in (("obs-index", obs), ("hdu-index", hdus)):
        table.write(scratch / f"{name}.fits.gz")
    return scratch


def file_name(number: int) -> str:
    """Return the file name of the event list of a run, by its position in the index."""
    return f"run_{number + 1:06d}.fits.gz"


def without_obs_id(path: Path) -> bytes:
    """Read a FITS file, with empty cards in place of OBS_ID in all headers."""
    with fits.open(path) as hdu_list:
        places = [hdu.fileinfo()["hdrLoc"] for hdu in hdu_list if "OBS_ID" in hdu.header]
    content = path.read_bytes()
    content = decompress(content) if content.startswith(MAGIC) else content
    for place in places:
        start = content.index(b"OBS_ID  =", place)
        content = content[:start] + b" " * _CARD + content[start + _CARD :]
    return content


if __name__ == "__main__":
    replicate(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
