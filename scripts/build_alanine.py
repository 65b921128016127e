"""Build what ships with alanine dipeptide: its reference surface, or the weights of its generator.

python scripts/build_alanine.py reference     some 10 CPU-min
python scripts/build_alanine.py weights       some 3 CPU-min
"""

from __future__ import annotations

import sys
import time

from posteriori.core.random import Rng
from posteriori.domains.molecules.alanine import shipped
from posteriori.domains.molecules.alanine_generator import Training, trained
from posteriori.domains.molecules.alanine_reference import REFERENCE, TRAINED, Reference, surface_of
from posteriori.domains.molecules.alanine_sampling import Sampling, masses, sampled
from posteriori.physics.molecular_mechanics import ForceField

REFERENCE_SEED = 900
WEIGHTS_SEED = 100


def main(what: str) -> None:
    """Build one of the two and say what it took."""
    molecule = shipped()
    terms = ForceField.of_xml(molecule.system)
    start = time.process_time()
    if what == "reference":
        sampling = Sampling(walkers=16, rows=40000, settle=500)
        frames = sampled(terms, molecule.frame, masses(molecule.system), sampling, Rng(REFERENCE_SEED))
        found = surface_of(frames)
        REFERENCE.parent.mkdir(exist_ok=True)
        Reference(found, molecule.force_field, sampling.temperature, frames.bias.numel()).write(REFERENCE)
        print(f"moves {frames.moves.tolist()}, exchanges {frames.swaps.tolist()}")
        print(f"difference {found.difference:.4f} ± {found.difference_error:.4f} kT")
        print(f"bins with an error of 0.05 kT or less: {int((found.errors <= 0.05).sum())} of {found.errors.numel()}")
    elif what == "weights":
        sampling = Sampling(rows=10000)
        frames = sampled(terms, molecule.frame, masses(molecule.system), sampling, Rng(WEIGHTS_SEED))
        generator, history = trained(frames, Training(steps=1000), Rng(WEIGHTS_SEED))
        TRAINED.parent.mkdir(exist_ok=True)
        generator.save(TRAINED)
        print(f"mean log q of the last batches {sum(history[-100:]) / 100:.3f}")
    else:
        raise SystemExit(__doc__)
    print(f"{time.process_time() - start:.0f} CPU s")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
