import pytest

pytest.register_assert_rewrite("tests.broken.directory")  # for informative failures
