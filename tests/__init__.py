import pytest

pytest.register_assert_rewrite("tests.helpers.commands", "tests.helpers.errors")  # so that a failure there says what differs
