"""Commands and examples of docs/how_to/cluster.md are valid."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bgnb import make_bg_cube_models, make_test_dataset
from bgnb.cli.main import main
from tests.helpers.files import digests

HOW_TO = Path(__file__).parents[2] / "docs" / "how_to"
TEXT = (HOW_TO / "cluster.md").read_text()


def test_documented_commands_parse():
    """The command line accepts each documented command."""
    lines = re.findall(r"^ +(?:sbatch .*\")?bgnb ([^\"\n]*)", TEXT, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        name, *arguments = shlex.split(line.replace("$SLURM_ARRAY_TASK_ID", "3").replace("ADDRESS", "tcp://x:1"))
        context = main.commands[name].make_context(name, arguments)
        assert context.params["indir" if name != "merge" else "parts"]


def test_documented_examples_are_python():
    """Each documented example is valid Python that makes models."""
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
        assert any(ast.unparse(call.func) == "bgnb.make_bg_cube_models" for call in calls)


@pytest.mark.slow
def test_cwl_workflow(tmp_path):
    """The workflow counts in parts, and makes the models that one command makes."""
    make_test_dataset(tmp_path / "runs", n_runs=4, trigger_rate=3.0, progress=False)
    (tmp_path / "settings.toml").write_text('select = "all"\nn_fov = 9\nn_energy = 7\n')
    (job,) = re.findall(r"^    (runs: .*\n    parts: .*\n    config: .*)$", TEXT, re.MULTILINE)
    (tmp_path / "job.yml").write_text(job.replace("    ", "").replace("/data/runs", f"{tmp_path}/runs"))
    (tmp_path / "bgnb").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m bgnb "$@"\n')
    (tmp_path / "bgnb").chmod(0o755)
    # OpenBLAS rounds differently on processors of other types, for one of which it may be set to compute.
    kept = {"PYTHONPATH": str(HOW_TO.parents[1])} | {
        name: os.environ[name] for name in os.environ if name.startswith("OPENBLAS")
    }
    preserved = [word for name in kept for word in ("--preserve-environment", name)]
    cwltool = [sys.executable, "-m", "cwltool", "--outdir", "out", *preserved]
    subprocess.run(
        [*cwltool, str(HOW_TO / "cwl" / "models.cwl"), "job.yml"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)} | kept,
        check=True,
        capture_output=True,
    )
    made = {"select": "all", "n_fov": 9, "n_energy": 7, "progress": False}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "direct", **made)
    assert digests(tmp_path / "out" / "models") == digests(tmp_path / "direct")
