"""Make the environment and run one job in it: ``python3 run.py demo|test|check|figures|bench|docs|pin``.

Standard library only. The environment is ``.venv`` beside this file; it is installed once from ``pyproject.toml`` and
``constraints.txt`` and left alone until one of the two changes or a job needs an extra that is not there yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
STAMP = VENV / "installed.json"
OLDEST = (3, 11)
EVERYTHING = ("nuclei", "geophysics", "molecules", "geography", "scale", "peers", "dev")


def demo(arguments: list[str]) -> int:
    """Predict the masses that a later evaluation measured, and write report.html."""
    install()
    folder = ROOT / "runs" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    code = call(BIN / "posteriori", "run", "nuclei/masses", *arguments, "--out", folder)
    if (folder / "report.html").exists():
        shutil.copyfile(folder / "report.html", ROOT / "report.html")
        print(f"The whole report: {ROOT / 'report.html'}")
    return code


def test(arguments: list[str]) -> int:
    """Run the whole suite on two processes of one thread each."""
    install(*EVERYTHING)
    return call(PYTHON, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-q", *arguments)


def check(arguments: list[str]) -> int:
    """Format, lint, types, import rules and the fast tests; every one is run, the first failure is the exit code."""
    install(*EVERYTHING)
    codes = [
        call(BIN / "ruff", "format", "--check", "."),
        call(BIN / "ruff", "check", "."),
        call(BIN / "mypy"),
        call(BIN / "lint-imports", "--no-logo"),
        call(PYTHON, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-q", "-m", "not slow", *arguments),
    ]
    return next((code for code in codes if code), 0)


def figures(arguments: list[str]) -> int:
    """Measure every figure that the project promises and print it beside what was asked."""
    install(*EVERYTHING)
    return call(PYTHON, "scripts/figures.py", *arguments)


def bench(arguments: list[str]) -> int:
    """Time the package against its peers."""
    return scripts("bench", arguments)


def docs(arguments: list[str]) -> int:
    """Run every example of the gallery."""
    return scripts("docs/gallery", arguments)


def pin(_: list[str]) -> int:
    """Write the versions now installed to constraints.txt, without local build tags or paths."""
    frozen = subprocess.run(
        [PYTHON, "-m", "pip", "freeze", "--exclude-editable"], check=True, capture_output=True, text=True
    ).stdout
    pins = [re.sub(r"\+.*", "", line) for line in frozen.splitlines() if re.fullmatch(r"[\w.-]+==\S+", line)]
    (ROOT / "constraints.txt").write_text(
        "# The exact set the project is tested with; rewritten by `python3 run.py pin`.\n" + "\n".join(pins) + "\n"
    )
    return 0


JOBS: dict[str, Callable[[list[str]], int]] = {
    job.__name__: job for job in (demo, test, check, figures, bench, docs, pin)
}


def install(*extras: str) -> None:
    """Make ``.venv`` hold the pinned set with ``extras``; a no-op where it does already."""
    key = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")))
    stamp = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    had = set(stamp.get("extras", ()))
    if stamp.get("key") == key.hexdigest() and had.issuperset(extras) and (BIN / "posteriori").exists():
        return
    wanted = sorted({*extras, *had})
    if not PYTHON.exists():
        print("making .venv", flush=True)
        must(sys.executable, "-m", "venv", VENV)
    print(f"installing the pinned set{' with ' + ', '.join(wanted) if wanted else ''}", flush=True)
    package = f".[{','.join(wanted)}]" if wanted else "."
    must(PYTHON, "-m", "pip", "install", "-qq", "--no-compile", "-c", "constraints.txt", "-e", package)
    STAMP.write_text(json.dumps({"key": key.hexdigest(), "extras": wanted}))


def scripts(folder: str, arguments: list[str]) -> int:
    """Run the Python scripts of ``folder`` whose name holds one of ``arguments`` (all where there is none)."""
    install(*EVERYTHING)
    chosen = [
        path
        for path in sorted((ROOT / folder).glob("*.py"))
        if not arguments or any(argument in path.stem for argument in arguments)
    ]
    if not chosen:
        print(f"no script in {folder}/ matches {arguments or 'anything'}")
        return 2
    failed = [path.name for path in chosen if call(PYTHON, path) != 0]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} ran" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def call(*command: str | Path) -> int:
    """Run ``command`` in the repository with one thread per process, and return its exit code."""
    threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=os.environ | threads, check=False).returncode


def must(*command: str | Path) -> None:
    """Run ``command`` and stop the job where it fails."""
    code = call(*command)
    if code:
        raise SystemExit(code)


def main() -> int:
    """Run the job that the command line names."""
    if sys.version_info < OLDEST:
        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        print(f"this is Python {found}; {needed} or later is needed: call run.py with it, or `make PYTHON=python3.x`")
        return 2
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        print("usage: python3 run.py JOB [arguments]\n")
        print("\n".join(f"  {name:8} {(job.__doc__ or '').splitlines()[0]}" for name, job in JOBS.items()))
        return 2
    try:
        return JOBS[sys.argv[1]](sys.argv[2:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
