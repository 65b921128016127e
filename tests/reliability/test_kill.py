"""SIGKILL at any moment loses no finished task, leaves no half file, and changes no bit of the resumed answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_sixty_kills_at_random_moments(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kill.py")
    words = [sys.executable, str(script), str(tmp_path), "60"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["died"] == 60
    assert found["ended"] >= 1
    assert (found["lost"], found["broken"], found["differ"]) == (0, [], 0)
