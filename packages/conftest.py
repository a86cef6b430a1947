"""What the tests of all packages share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    """Seed each test: its weights and inputs do not depend on the tests that ran before it."""
    torch.manual_seed(0)
