"""Models that are attached."""

import pytest

from tests.helpers.model_directories import model_directory


@pytest.fixture
def models(tmp_path):
    """Make a directory of models."""
    return model_directory(tmp_path / "models")
