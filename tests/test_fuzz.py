"""Some seconds of what tools/fuzz.py does for hours: see fuzzing.py for what is called and held."""

import pytest
from fuzzing import calls, check
from hypothesis import HealthCheck, given, settings

EXAMPLES = 1500


@pytest.mark.usefixtures("isa")
@settings(
    max_examples=EXAMPLES // 3, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(call=calls())
def test_any_call(call):
    check(call)
