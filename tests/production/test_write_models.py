"""Models made in memory are written as the command writes them."""

import pytest

import bgnb
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf


@pytest.mark.parametrize("method", ["classic", "spline"])
def test_files_are_those_of_the_command(tmp_path, method):
    """All files are bit-identical to those of `make_bg_cube_models`."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 900) for obs_id in range(1, 5)])
    settings = {"select": "all", "method": method, "n_energy": 6, "n_fov": 8}
    bgnb.make_bg_cube_models(indir, "GADF", tmp_path / "command", **settings)
    bgnb.write_models(bgnb.make_models(indir, "GADF", **settings), tmp_path / "memory")
    command, memory = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("command", "memory"))
    assert command == memory
    assert not any(bgnb.check(tmp_path / "memory").values())


def test_models_replace_only_on_request(tmp_path):
    """Existing models are replaced only with overwrite."""
    indir = write_gadf(tmp_path / "in", [run(1, 900)])
    production = bgnb.make_models(indir, "GADF", select="all", method="classic", n_energy=6, n_fov=8)
    bgnb.write_models(production, tmp_path / "models")
    before = (tmp_path / "models" / "manifest.json").read_bytes()
    with raises("exists", "models", "overwrite"):
        bgnb.write_models(production, tmp_path / "models")
    bgnb.write_models(production, tmp_path / "models", overwrite=True)
    assert (tmp_path / "models" / "manifest.json").read_bytes() == before
