"""A run that is killed at any moment loses nothing that was finished and leaves nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_fifty_kills_at_random_moments(orchard: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill.py")
    words = [sys.executable, script, orchard, tmp_path, "50"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert found["resumed"] == found["whole"]
    assert found["kills"] == 50
