"""Errors of the commands that simulate."""

import pytest

from tests.helpers.commands import error_of, output_of


def test_true_model_file_is_replaced(tmp_path):
    """A file is replaced only with ``--overwrite``."""
    arguments = ["make-test-bg-cube-model", tmp_path / "true.fits.gz", "--n-energy", 4, "--n-fov", 6]
    output_of(*arguments)
    line = error_of(*arguments)
    assert str(tmp_path / "true.fits.gz") in line
    assert "--overwrite" in line
    assert line.endswith("[exists]")
    output_of(*arguments, "--overwrite")


@pytest.mark.parametrize("name", ["true.txt", ".fits", ".fits.gz"])
def test_name_of_true_model_is_checked(tmp_path, name):
    """Other names than those of FITS files are refused."""
    line = error_of("make-test-bg-cube-model", tmp_path / name)
    assert str(tmp_path / name) in line
    assert line.endswith("[invalid-argument]")
    assert not (tmp_path / name).exists()
