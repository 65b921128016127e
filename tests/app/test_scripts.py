"""The scripts around the package: what was asked beside what is measured, and the one that makes the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FIGURES = """
from __future__ import annotations
from asked import Asked
def fail() -> float:
    raise ValueError("no balance")
ASKED = [
    Asked("apple [g]", 140, 160, lambda: 150.0),
    Asked("fruit [g]", 140, float("inf"), lambda: {"apple": 150.0, "plum": 40.0}),
    Asked("pear [g]", 140, 160, fail),
    Asked("none [g]", 140, 160, dict),
]
"""


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the script with one domain of its own."""
    for name in ("asked.py", "figures.py"):
        (tmp_path / name).write_text((ROOT / "scripts" / name).read_text())
    (tmp_path / "figures_fruit.py").write_text(FIGURES)
    return tmp_path


def test_each_figure_is_printed_beside_what_was_asked(scripts: Path) -> None:
    done = call(scripts / "figures.py", "fruit")
    lines = [line.rpartition("  (")[0] or line for line in done.stdout.splitlines()]
    assert lines == [
        "pass  apple [g]: asked 140 to 160, measured 150",
        "FAIL  fruit [g]: asked >= 140, measured apple 150, plum 40",
        "FAIL  pear [g]: asked 140 to 160, measured not measured: no balance",
        "FAIL  none [g]: asked 140 to 160, measured ",
        "1 of 4 hold",
    ]
    assert done.returncode == 1


def test_an_unknown_domain_is_refused(scripts: Path) -> None:
    done = call(scripts / "figures.py", "vegetables")
    assert done.returncode == 2
    assert done.stdout == "no figures of vegetables; there is fruit\n"


def test_run_py_lists_its_jobs() -> None:
    done = call(ROOT / "run.py", "dance")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == [
        "demo",
        "test",
        "check",
        "figures",
        "bench",
        "docs",
        "pin",
    ]


def test_run_py_refuses_an_older_python() -> None:
    code = "import sys, runpy; sys.version_info = (3, 9, 1); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = call("-c", code, ROOT / "run.py", "demo")
    assert done.returncode == 2
    assert "this is Python 3.9; 3.11 or later is needed" in done.stdout


def test_run_py_needs_nothing_but_the_standard_library() -> None:
    assert call("-S", "-I", ROOT / "run.py").returncode == 2
