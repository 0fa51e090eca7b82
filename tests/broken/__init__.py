import pytest

pytest.register_assert_rewrite("tests.broken.directory")  # so that a failure there says what differs
