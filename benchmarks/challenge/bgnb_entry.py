"""Entry of bgnb, by its command line: python -m benchmarks.challenge.bgnb_entry METHOD NORM TRAIN TEST OUT."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main(method: str, norm: str, train: str, test: str, out: str) -> None:
    """Make models of all training runs, and attach them to the test runs."""
    bgnb = [sys.executable, "-m", "bgnb"]
    with tempfile.TemporaryDirectory() as folder:
        models, store = f"{folder}/models", f"{folder}/store"
        make = ["make-bg-cube-models", train, "GADF", models, "--select", "all", "--method", method]
        subprocess.run([*bgnb, *make], check=True)
        subprocess.run([*bgnb, "attach", models, test, "GADF", store, "--norm", norm], check=True)
        for path in Path(store, "backgrounds").glob("bkg_*"):
            shutil.copy(path, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
