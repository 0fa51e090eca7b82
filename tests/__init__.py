import pytest

pytest.register_assert_rewrite("tests.helpers.commands")  # so that a failure there says what differs
