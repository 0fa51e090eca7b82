"""Docstrings of public names have the sections of numpydoc, and describe the parameters that are there."""

import pytest
from numpydoc.validate import validate
from sphinx.ext.autodoc.mock import mock

import bgnb

PUBLIC = [f"bgnb.{name}" for name in bgnb.__all__ if name not in ("dashboards", "gammapy")]
PUBLIC += [f"bgnb.gammapy.{name}" for name in bgnb.gammapy.__all__]
PUBLIC += [f"bgnb.dashboards.{name}" for name in bgnb.dashboards.__all__]
# A summary in one line that begins with a capital and ends with a period (SS); every parameter, in order, with a type and
# a description (PR); what a function returns or yields (RT, YD); sections by their names and in their order (GL).
CHECKS = {"GL06", "GL07", "GL08", "PR01", "PR02", "PR03", "PR04", "PR06", "PR07", "PR08", "PR10"}
CHECKS |= {"RT01", "RT02", "SS01", "SS02", "SS03", "SS04", "SS05", "SS06", "YD01"}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_complete(name):
    with mock(["gammapy"]):  # it needs another environment
        assert [error for error in validate(name)["errors"] if error[0] in CHECKS] == []
