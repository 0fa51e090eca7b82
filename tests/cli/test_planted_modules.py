"""Modules, configuration and templates in the current directory: no command uses them, nor the processes that it starts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, writes

from bgnb.notebooks.kernels import can_encrypt
from tests.browser.driver import QUIET, free_port, private_jupyter, running
from tests.helpers.model_directories import model_directory
from tests.helpers.processes import PATIENCE, ROOT, until
from tests.helpers.run_files import run, write_gadf

# Configuration that programs might execute, and packages that programs import if they are installed.
OTHERS = ("ipython_config", "ipython_kernel_config", "jupyter_config", "jupyter_server_config", "jupyter_lab_config")
OTHERS += ("jupyter_notebook_config", "jupyter_nbconvert_config", "sitecustomize", "usercustomize", "brotli", "cupy", "orjson")
STYLE = ("--select", "all", "--n-energy", "5", "--n-fov", "8", "--method", "classic")


@pytest.fixture(scope="module")
def module_names() -> set[str]:
    """Return the name of each module that a program might import."""
    return {name for name in {*sys.stdlib_module_names, *packages_distributions(), "bgnb", *OTHERS} if name.isidentifier()}


@pytest.fixture
def planted(tmp_path, module_names) -> Path:
    """Make a directory with a module of each name that a program might import, which writes this name to a file."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name in module_names:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name + chr(10)!r})\n")
    for kind in ("lab", "base", "classic"):  # templates of nbconvert
        (folder / kind).mkdir()
        (folder / kind / "conf.json").write_text('{"mimetypes": {"text/html": true}}')
        (folder / kind / "index.html.j2").write_text("planted template")
    server = folder / "node_modules" / "pyright" / "langserver.index.js"  # a language server
    server.parent.mkdir(parents=True)
    server.write_text("process.exit(1)")
    return folder


@pytest.fixture
def bgnb(tmp_path) -> list[object]:
    """Return the start of a command as an installation starts it: by a script in another directory."""
    script = tmp_path / "bin" / "bgnb"
    script.parent.mkdir()
    script.write_text("import sys\nfrom bgnb.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    return [sys.executable, script]


def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "state").mkdir(exist_ok=True)
    return private_jupyter(tmp_path / "state") | {"PYTHONPATH": str(ROOT)}


def imported(tmp_path: Path) -> set[str]:
    return {*(tmp_path / "imported").read_text().split()} if (tmp_path / "imported").exists() else set()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Path]:
    """Make runs, models, and a notebook that uses two processes."""
    tmp_path = tmp_path_factory.mktemp("inputs")
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100) for obs_id in (2, 4)])
    parameters = new_code_cell("modeldir = ''\ngroup_id = 0", metadata={"tags": ["parameters"]})
    options = "select='all', n_energy=5, n_fov=8, method='classic', workers=2"
    cell = f"import csv, sys, wave, bgnb, uuid\nbgnb.make_models({str(indir)!r}, 'GADF', {options}); '' in sys.path"
    (tmp_path / "own.ipynb").write_text(writes(new_notebook(cells=[parameters, new_code_cell(cell)])))
    return {"indir": indir, "models": model_directory(tmp_path / "models"), "notebook": tmp_path / "own.ipynb"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("make-bg-cube-models", "{indir}", "GADF", "{out}", *STYLE, "--workers", "2"),
        ("make-test-dataset", "{out}", "--n-runs", "2", "--trigger-rate", "2", "--workers", "2"),
        ("true-reco", "{out}", "--test", "--trigger-rate", "2", "--n-energy", "5", "--n-fov", "6", "--workers", "2"),
        ("attach", "{models}", "{indir}", "GADF", "{out}", "--workers", "2"),
        ("run-notebook", "{notebook}", "{out}.ipynb"),
        ("run-groups", "{models}", "{out}", "--notebook", "{notebook}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_imports_from_current_directory(tmp_path, planted, bgnb, inputs, arguments):
    """No process that a command starts executes a file of the directory in which it is started."""
    paths = inputs | {"out": tmp_path / "out"}
    command = [*bgnb, *(argument.format(**paths) for argument in arguments)]
    done = subprocess.run(command, cwd=planted, env=environment(tmp_path), capture_output=True, text=True, timeout=PATIENCE)
    assert imported(tmp_path) == set()
    assert done.returncode == 0, done.stderr
    for page in tmp_path.glob("out/*.html"):
        assert "planted template" not in page.read_text()
    for executed in [*tmp_path.glob("out*.ipynb"), *tmp_path.glob("out/*.ipynb")]:
        (result,) = json.loads(executed.read_text())["cells"][-1]["outputs"]
        assert result["data"]["text/plain"] == ["False"]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "printed"), [("-E", "1 use workers = 1"), ("-EP", "2 [3]")])
def test_python_that_ignores_its_environment(tmp_path, planted, option, printed):
    """It would hand this on to worker processes, which would then import from the current directory: there are none."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from bgnb.production import workers\n"
        "if __name__ == '__main__':\n    workers._cores = lambda: 2\n    print(workers.default_number(None), end=' ')\n"
        "    try:\n        with workers.open_workers(2) as found:\n"
        "            print([result for _, result in found.map(abs, [-3])])\n"
        "    except Exception as error:\n        print('use workers = 1' if 'use workers = 1' in str(error) else error)\n"
    )
    done = subprocess.run([sys.executable, option, script], cwd=planted, capture_output=True, text=True, timeout=PATIENCE)
    assert imported(tmp_path) == set()
    assert done.stdout == f"{printed}\n", done.stderr


@pytest.mark.slow
def test_caller_keeps_its_path(tmp_path):
    """A script finds the modules beside it in its worker processes too, and its own processes are started as before."""
    (tmp_path / "beside.py").write_text("def double(number):\n    return 2 * number\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, beside\nfrom bgnb.production.workers import open_workers\n"
        "if __name__ == '__main__':\n    with open_workers(2) as workers:\n"
        "        print(sorted(workers.map(beside.double, [1, 2])), os.environ.get('PYTHONSAFEPATH'))\n"
    )
    done = subprocess.run([sys.executable, script], env=environment(tmp_path), capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "[(1, 2), (2, 4)] None\n", done.stderr


@pytest.mark.slow
def test_lab_and_its_kernels_import_nothing_from_the_folder(tmp_path, planted, bgnb):
    """JupyterLab, its kernels and its exported pages use no file of the folder in which `bgnb lab` is started."""
    port, models = free_port(), model_directory(tmp_path / "models")
    command = [*bgnb, "lab", models, "--", "--no-browser", f"--ServerApp.port={port}", *QUIET, "--IdentityProvider.token=word"]
    env = environment(tmp_path)
    log = tmp_path / "lab.log"

    def ask(where: str, **content: object) -> bytes:
        data = json.dumps(content).encode() if content else None
        headers = {"Authorization": "token word", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{where}", data, headers)
        with urllib.request.urlopen(request) as answer:
            return bytes(answer.read())

    with running(command, f"http://127.0.0.1:{port}/api", log, env, planted):
        page = ask("nbconvert/html/explore.ipynb").decode()
        assert "planted template" not in page
        assert "explore" in page
        assert json.loads(ask("lsp/status"))["specs"] == {}
        with pytest.raises(urllib.error.HTTPError):  # of a number that depends on JupyterLab; below, pip.py was not imported
            ask("lab/api/extensions", cmd="install", extension_name="any")
        session = {"kernel": {"name": "python3"}, "name": "", "path": "explore.ipynb", "type": "notebook"}
        kernel = json.loads(ask("api/sessions", **session))["kernel"]["id"]
        connection = tmp_path / "state" / "jupyter_runtime_dir" / f"kernel-{kernel}.json"
        until(connection.exists, "a kernel")
        assert ("curve_publickey" in json.loads(connection.read_text())) == can_encrypt()
        code = (
            "import sys; from jupyter_client import BlockingKernelClient\n"
            f"client = BlockingKernelClient(connection_file={str(connection)!r}); client.load_connection_file()\n"
            "client.start_channels(hb=False); client.wait_for_ready()\n"
            "client.execute_interactive('import csv, wave, bgnb, sys; bgnb.Cube; print(\"\" in sys.path, sys.executable)')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=PATIENCE)
        assert done.stdout == f"False {sys.executable}\n", done.stderr
    assert imported(tmp_path) == set(), re.sub("token=.*", "", log.read_text())
