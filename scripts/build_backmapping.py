"""Trains the generator that ``molecules/backmapping`` ships: alanine dipeptide given φ and ψ, 300 K, in vacuum.

``python scripts/build_backmapping.py`` takes about a minute and writes domains/molecules/weights.
"""

from __future__ import annotations

import time

from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.threads import fixed_threads
from posteriori.domains.molecules.backmapping_alanine import WEIGHTS, kept
from posteriori.domains.molecules.backmapping_checks import alanine_mapper

SEED = 100
"""Apart from the seeds of reported runs."""


def main() -> None:
    """Simulate, train, write."""
    began = time.process_time()
    with fixed_threads():
        net = alanine_mapper(300.0, 2000, 20, Context(Rng(SEED)))
    WEIGHTS.parent.mkdir(exist_ok=True)
    kept(net, WEIGHTS)
    print(f"{WEIGHTS}: {WEIGHTS.stat().st_size} bytes, {time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
