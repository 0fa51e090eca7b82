"""Commands and examples of docs/how_to/cluster.md are valid."""

import ast
import re
import shlex
from pathlib import Path

from bgnb.cli.main import main

TEXT = (Path(__file__).parents[2] / "docs" / "how_to" / "cluster.md").read_text()


def test_documented_commands_parse():
    """The command line accepts each documented command."""
    lines = re.findall(r"^ +bgnb (.*)$", TEXT, re.MULTILINE)
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
