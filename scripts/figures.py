"""Measure every figure that the project promises and print it beside what was asked: ``figures.py [DOMAIN …]``."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from pathlib import Path

from asked import Asked, spelled


def main(wanted: list[str]) -> int:
    """Exit code 0: all hold; 1: some do not; 2: there is no such domain."""
    domains = [path.stem.removeprefix("figures_") for path in sorted(Path(__file__).parent.glob("figures_*.py"))]
    unknown = sorted(name for name in wanted if not any(within(domain, name) for domain in domains))
    if unknown:
        print(f"no figures of {', '.join(unknown)}; there is {', '.join(domains) or 'none'}")
        return 2
    verdicts = [
        verdict(asked)
        for domain in domains
        if not wanted or any(within(domain, name) for name in wanted)
        for asked in importlib.import_module(f"figures_{domain}").ASKED
    ]
    print(f"{sum(verdicts)} of {len(verdicts)} hold")
    return 0 if all(verdicts) else 1


def within(domain: str, name: str) -> bool:
    """Whether ``name`` means ``domain``: its whole name, or the science that it is a part of."""
    return domain == name or domain.startswith(f"{name}_")


def verdict(asked: Asked) -> bool:
    """Measure one figure and print a line; what cannot be measured does not hold."""
    began = time.perf_counter()
    try:
        measured = asked.measure()
        holds, shown = asked.holds(measured), spelled(measured)
    except Exception as problem:
        traceback.print_exc()
        holds, shown = False, f"not measured: {problem}"
    seconds = time.perf_counter() - began
    print(
        f"{'pass' if holds else 'FAIL'}  {asked.text}: asked {asked.range}, measured {shown}  ({seconds:.1f} s)",
        flush=True,
    )
    return holds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
