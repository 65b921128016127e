"""How the suite runs: one thread a process, and property tests that neither race a clock nor change by the day."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import torch

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"

torch.set_num_threads(1)
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of raw data beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the raw data are not at {SHARED}; the shipped tables are tested without them")
    return SHARED.resolve()
