"""Alanine dipeptide: labels, the generator's density, weights, correction, the sampler and the surface."""

from __future__ import annotations

from math import log, pi
from pathlib import Path

import pytest
import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.domains.molecules import alanine_coordinates as parts
from posteriori.domains.molecules.alanine import ZMATRIX, handedness, shipped
from posteriori.domains.molecules.alanine_correction import Correction, Weighed, forward_share, weighed
from posteriori.domains.molecules.alanine_generator import Generator
from posteriori.domains.molecules.alanine_reference import REFERENCE, TRAINED, Reference
from posteriori.domains.molecules.alanine_sampling import Sampling, masses, sampled
from posteriori.domains.molecules.alanine_target import InternalBoltzmann
from posteriori.domains.molecules.ramachandran import Ramachandran, SurfaceLaw, binned
from posteriori.physics.internal_coordinates import InternalCoordinates
from posteriori.physics.molecular_mechanics import ForceField, MolecularMechanics

MOLECULE = shipped()
INTERNAL = InternalCoordinates(ZMATRIX)
TARGET = InternalBoltzmann(MolecularMechanics(ForceField.of_xml(MOLECULE.system)), INTERNAL, 300.0)


def frames(n: int) -> Tensor:
    """Internal coordinates near the first frame, methyl groups turned anywhere."""
    m = INTERNAL.coordinates(MOLECULE.frame).expand(n, -1).clone()
    m = parts.sheared(m + 0.01 * Rng(1).normal(m.shape) * m.abs().clamp_max(1.0))
    m[:, parts.METHYL_COLUMNS] = 2 * pi * Rng(2).uniform((n, 3)) - pi
    return parts.plain(m)


def test_labels_of_methyl_hydrogens_change_no_energy() -> None:
    m = frames(40)
    folded = parts.folded(parts.sheared(m))
    methyl = folded[:, parts.METHYL_COLUMNS]
    assert bool(((methyl >= 0) & (methyl < parts.THIRD)).all())
    again = parts.unfolded(folded, Rng(3))
    assert float((parts.folded(again) - folded).abs().max()) < 1e-12
    for same in (folded, again):
        assert float((TARGET.energy(parts.plain(same)) - TARGET.energy(m)).abs().max()) < 1e-9


def test_a_surface_law_is_a_density() -> None:
    near = 0.4 * Rng(4).normal((2000, 2))
    law = SurfaceLaw.of(near, torch.zeros(2000, dtype=torch.float64), 2 * pi * Rng(5).uniform((2000, 2)) - pi)
    draws, log_q = law.draw(4000, Rng(6), 0.3)
    assert float((law.log_prob(draws, 0.3) - log_q).abs().max()) == 0.0
    # the mean of 1 / q over draws is the area of the torus; its standard error is known from the draws
    inverse = (-log_q).exp()
    assert abs(float(inverse.mean()) - 4 * pi**2) < 4 * float(inverse.std()) / 4000**0.5


def test_surfaces_of_a_known_law() -> None:
    """Bins of an even law have log n; two basins differ by the log of their ratio (4 s.e.)."""
    even = 2 * pi * Rng(7).uniform((40000, 2)) - pi
    found = Ramachandran.of(even, torch.zeros(40000), 20, 6)
    assert abs(found.difference - log((2 * pi - 2.3) / 2.3)) < 4 * found.difference_error
    z = (found.values - found.values.mean()) / found.errors
    assert float(z.abs().max()) < 5
    rmse, bins = found.against(found, 1.0)
    assert (rmse, bins) == (0.0, 36)
    weights = torch.where(even[:, 0] > 0, log(3.0), 0.0)
    tilted = Ramachandran.of(even, weights, 20, 6)
    halves = -torch.logsumexp(-tilted.values[:3].flatten(), 0) + torch.logsumexp(-tilted.values[3:].flatten(), 0)
    assert float(halves) == pytest.approx(log(3.0), abs=0.06)
    with pytest.raises(DataError, match="equal"):
        Ramachandran.of(even, weights, 7)
    assert int(binned(torch.tensor([[-3.14, -3.13]]), 24)) == 0


@pytest.mark.slow
def test_replicas_know_the_moves_of_a_molecule() -> None:
    """Exact identity <x·∇U> = 63 RT (22 atoms without their centre) at 5 standard errors."""
    sampling = Sampling(rows=60, hills=200, settle=30, walkers=8)
    found = sampled(ForceField.of_xml(MOLECULE.system), MOLECULE.frame, masses(MOLECULE.system), sampling, Rng(8))
    assert float(found.moves.min()) > 0.6
    assert bool((handedness(found.positions) > 0).all())
    x = found.positions[:, :, 0].double().flatten(0, 1)
    gradient = TARGET.potential.vjp(x, torch.ones(len(x), dtype=torch.float64))
    virial = TARGET.beta * ((x - x.mean(-2, keepdim=True)) * gradient).sum((-2, -1))
    by_walker = virial.reshape(60, 8).mean(0)
    assert abs(float(by_walker.mean()) - 63) < 5 * float(by_walker.std()) / 8**0.5


@pytest.mark.slow
def test_the_shipped_generator_is_weighed_and_corrected() -> None:
    generator = Generator.load(TRAINED)
    with torch.no_grad():
        raw = weighed(generator, TARGET, 3000, Rng(9), generator.share)
        again = generator.log_prob(raw.rows)
        corrected = Correction(stages=6)(generator, TARGET, 600, Rng(10), generator.share)
        forward = forward_share(generator, TARGET, raw.rows[torch.multinomial(raw.log_weights.softmax(0), 1000)])
    assert float((-TARGET.energy(raw.rows) - again - raw.log_weights).abs().max()) < 2e-3
    assert raw.share > 0.3
    assert corrected.share > max(0.6, raw.share)
    assert forward > 0.3
    # both estimate the same constant: 5 standard errors of either
    n, m = len(raw.rows), len(corrected.rows)
    constants = torch.logsumexp(raw.log_weights, 0) - log(n), torch.logsumexp(corrected.log_weights, 0) - log(m)
    assert abs(float(constants[0] - constants[1])) < 5 * ((1 / raw.share - 1) / n + 4 / m) ** 0.5
    assert bool((handedness(INTERNAL(raw.rows)) > 0).all())


def test_rows_of_one_root_count_as_one() -> None:
    even = torch.zeros(4, dtype=torch.float64)
    assert Weighed(frames(4), even, 4).share == pytest.approx(1.0)
    assert Weighed(frames(4), even, 4, roots=torch.tensor([0, 0, 0, 3])).share == pytest.approx(
        1 / (0.75**2 + 0.25**2) / 4
    )


def test_files_that_ship_or_do_not(tmp_path: Path) -> None:
    reference = Reference.read(REFERENCE)
    assert reference.surface.values.shape == (24, 24)
    reference.write(tmp_path / "again.json")
    assert Reference.read(tmp_path / "again.json").surface.difference == reference.surface.difference
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(DataError, match="no reference"):
        Reference.read(tmp_path / "broken.json")
    with pytest.raises(DataError, match="no alanine generator"):
        Generator.load(tmp_path / "absent.safetensors")
    with pytest.raises(OptionError, match="above zero"):
        InternalBoltzmann(TARGET.potential, INTERNAL, 0.0)
