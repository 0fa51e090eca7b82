"""Docstrings of public names have the sections of numpydoc, describe the parameters that are there, and have examples."""

import doctest

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


@pytest.fixture(scope="module")
def examples():
    """Return the examples of each public function."""
    parser = doctest.DocTestParser()
    functions = [name for name in PUBLIC if name.rpartition(".")[2].islower()]
    with mock(["gammapy"]):
        return {name: parser.get_examples(validate(name)["docstring"]) for name in functions}


def test_functions_have_examples(examples):
    """Each public function has an example that can be pasted, which is executed (see conftest.py) and prints something."""
    assert "bgnb.gammapy.to_irf" in examples
    assert [name for name, steps in examples.items() if not any(step.source == "import bgnb\n" for step in steps)] == []
    assert [name for name, steps in examples.items() if not any(step.want for step in steps)] == []


def test_skipped_examples_are_executed(examples):
    """Only examples that run notebooks are skipped; the tests of notebooks execute them, and needs their results."""
    skipped = {name for name, steps in examples.items() if any(doctest.SKIP in step.options for step in steps)}
    assert skipped == {"bgnb.run_groups", "bgnb.run_notebook", "bgnb.notebook_result"}
    one, other = ([step.source for step in examples[f"bgnb.{name}"]] for name in ("run_notebook", "notebook_result"))
    assert one == other
