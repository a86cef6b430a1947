import pytest


@pytest.fixture(autouse=True)
def _needs_lightning(request):
    """Whatever runs a network here needs the extra `fit`; parsing and settings do not."""
    if request.node.path.name not in ("test_config.py", "test_encoders.py", "test_meter.py"):
        pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")
