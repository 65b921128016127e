"""Annealing and what learns from it, against exact evidences and populations. False alarm 1e-4 a test."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posteriori import Boltzmann, Draws, Rng, infer
from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.run import Context
from posteriori.inference.annealed import Annealed, annealed, density_slope
from posteriori.inference.annealed_motion import Motion, Walkers, laid_out
from posteriori.inference.flow_bootstrap import FlowBootstrap
from posteriori.inference.hmc import slope_of
from posteriori.inference.population import Families, PopulationMonteCarlo
from posteriori.inference.stratified import Stratified, wide_gaussian
from posteriori.inference.unconstrained import Unconstrained
from posteriori.learn.density_conditionals import ConditionalDensity
from posteriori.physics.gaussian_mixture import GaussianMixture
from posteriori.physics.many_well import ManyWell

SURE = 3.9
"""Standard errors that a normal error exceeds once in ten thousand times."""


def far_modes() -> Boltzmann:
    """Three modes no chain would cross between, with shares 1/2, 1/3 and 1/6."""
    means = torch.tensor([[-20.0, 0.0], [15.0, 15.0], [10.0, -20.0]])
    return Boltzmann(GaussianMixture(means, 1.0, torch.tensor([3.0, 2.0, 1.0])), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("resample", [0.0, 0.5])
def test_log_z_of_far_modes_is_right_within_its_error(resample: float) -> None:
    target = far_modes()
    method = Annealed(wide_gaussian(target.space, 15.0), 1600, 16, resample=resample, share=0.8)
    found = [infer(target, method, seed=seed) for seed in range(8)]
    z = torch.stack([f.log_evidence / f.log_evidence_error for f in found])  # type: ignore[operator, arg-type]
    assert float(z.mean().abs()) < SURE / 8**0.5
    assert 0.4 < float(z.square().mean().sqrt()) < 2.2


def test_resampling_keeps_the_number_of_rows_and_the_mean_weight() -> None:
    target = far_modes()
    wide = wide_gaussian(target.space, 15.0)
    map_ = Unconstrained(target.space, "test")
    u = wide.sample(64, Rng(0)).reshape(2, 32, 2).transpose(0, 1)
    walkers = Walkers(density_slope(wide, map_), slope_of(target, map_), u, Rng(1))
    walkers.go(0.1)
    before = walkers.log_weights.logsumexp(0)
    walkers.resample(torch.tensor([True, False]))
    assert torch.allclose(walkers.log_weights.logsumexp(0), before)
    assert float(walkers.log_weights[:, 0].std()) < 1e-12 < float(walkers.log_weights[:, 1].std())
    assert torch.allclose(walkers.p, slope_of(target, map_)(walkers.u)[0])


def test_a_path_past_the_target_ends_at_p_squared_over_q() -> None:
    """Z of p²/q for two Gaussians in closed form: q of spread 2, p of spread 1, two dimensions."""
    target = Boltzmann(GaussianMixture(torch.zeros(1, 2)), 1.0)
    wide = wide_gaussian(target.space, 2.0)
    map_ = Unconstrained(target.space, "test")
    slopes = density_slope(wide, map_), slope_of(target, map_)
    path = laid_out(Walkers(*slopes, wide.sample(200, Rng(0))[:, None], Rng(1)), 2.0, 0.8, Motion())
    walkers = annealed(*slopes, wide.sample(4000, Rng(2)), path, Motion(), Rng(3))
    weights = walkers.log_weights.flatten().exp()
    exact = 16 / 7  # (σ / √(2 - 1/σ²))² with σ = 2
    assert abs(float(weights.mean()) - exact) < SURE * float(weights.std()) / 4000**0.5


def test_energies_and_gradients_are_counted() -> None:
    target = far_modes()
    found = infer(target, Annealed(wide_gaussian(target.space, 15.0), 160, 4, resample=0.5, share=0.5, pilot=64))
    assert isinstance(found, Draws)
    assert float(found.stats["calls"].sum()) > 160 * 5
    assert found.stats["island"].unique().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_ancestors_are_counted_and_lend_no_false_couplings() -> None:
    """Wells in eight dimensions are independent; 4,000 resampled rows descend from few, and the density must know."""
    target = Boltzmann(ManyWell(8), 1.0)
    start = Annealed(wide_gaussian(target.space, 3.0), 4000, 8, resample=0.5, share=0.5, pilot=500, motion=Motion(2, 6))
    found = infer(target, start, seed=100)
    assert isinstance(found, Draws)
    lineages = (8 * found.stats["ancestor"] + found.stats["island"]).long()
    assert 8 < len(lineages.unique()) < 1000
    [law] = Families((), (6,)).tried(target.space, found.values, found.weights, lineages, Rng(0))
    assert isinstance(law, ConditionalDensity)
    assert not bool(law.linear.any())
    [fooled] = Families((), (6,)).tried(target.space, found.values, found.weights, torch.arange(4000), Rng(0))
    assert isinstance(fooled, ConditionalDensity)
    assert bool(fooled.linear.any())


def test_few_lineages_are_split_and_a_single_one_is_refused() -> None:
    space, x, weights = far_modes().space, Rng(0).normal((40, 2)), torch.ones(40, dtype=torch.float64)
    for seed in range(6):  # with two lineages chance puts both on one side in two of three
        assert Families((1,), ()).tried(space, x, weights, torch.arange(40) % 2, Rng(seed))
    with pytest.raises(UnanswerableError, match="descend from one"):
        Families((1,), ()).tried(space, x, weights, torch.zeros(40, dtype=torch.long), Rng(0))


def test_without_resampling_every_row_is_its_own_ancestor() -> None:
    found = infer(far_modes(), Annealed(wide_gaussian(far_modes().space, 15.0), 160, 4, pilot=64))
    assert isinstance(found, Draws)
    assert found.stats["ancestor"].tolist() == 4 * list(range(40))


def test_population_monte_carlo_finds_far_modes_and_their_shares() -> None:
    target = far_modes()
    start = Annealed(wide_gaussian(target.space, 15.0), 1600, 8, resample=0.5, share=0.5, pilot=400)
    method = PopulationMonteCarlo(start, 2000, 2000, 3, Families((1, 2, 3, 4), ()))
    found = infer(target, method, seed=100)
    assert isinstance(found, Draws)
    assert abs(float(found.log_evidence)) < 0.005  # type: ignore[arg-type]
    assert float(found.ess()) > 0.95 * 2000
    left = found.weights[found.values[:, 0] < 0].sum()
    assert abs(float(left) - 0.5) < 0.01


@pytest.mark.slow
def test_cell_by_cell_densities_answer_many_wells() -> None:
    """Sixteen modes in eight dimensions, by families without mixtures; the error of log Z and every well's share."""
    law = ManyWell(8)
    target = Boltzmann(law, 1.0)
    start = Annealed(wide_gaussian(target.space, 3.0), 4000, 8, resample=0.5, share=0.5, pilot=500, motion=Motion(2, 6))
    found = infer(target, PopulationMonteCarlo(start, 4000, 6000, 2, Families((1,), (6,))), seed=100)
    assert isinstance(found, Draws)
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    assert abs(float(found.log_evidence) - law.log_z) < SURE * float(found.log_evidence_error)
    assert float(found.ess()) > 0.6 * 4000


def test_the_stratified_mixture_is_unbiased_and_its_counts_sum() -> None:
    plane = far_modes().space
    law = Stratified([(wide_gaussian(plane, 1.0), 0.8), (wide_gaussian(plane, 2.0), 0.2)])
    counts = torch.tensor([law._counts(11, Rng(i)) for i in range(2000)]).double()
    assert bool((counts.sum(1) == 11).all())
    assert abs(float(counts[:, 0].mean()) - 8.8) < SURE * 0.4 / 2000**0.5
    x, log_q = law.draw(7, Rng(0))
    assert torch.allclose(log_q, law.log_prob(x))


def test_the_bootstrap_answers_two_modes_within_its_error() -> None:
    method, target = FlowBootstrap.example()
    found = infer(target, method, seed=3)
    assert found.log_evidence is not None
    assert found.log_evidence_error is not None
    assert abs(float(found.log_evidence)) < SURE * float(found.log_evidence_error)


def test_what_cannot_be_answered_is_refused() -> None:
    target = far_modes()
    with pytest.raises(UnanswerableError, match="give proposal"):
        infer(target, Annealed())
    with pytest.raises(UnanswerableError, match="give proposal"):
        infer(target, PopulationMonteCarlo(Annealed()))
    wide = wide_gaussian(target.space, 15.0)
    with pytest.raises(OptionError, match="equal islands"):
        Annealed(wide, draws=10, islands=4)
    with pytest.raises(OptionError, match="share"):
        Annealed(wide, share=1.0)
    with pytest.raises(OptionError, match="positive"):
        wide_gaussian(target.space, 0.0)
    with pytest.raises(OptionError, match="shares"):
        Stratified([(wide, 0.5)])
    broken = replace(PopulationMonteCarlo.example()[0], rounds=1)
    assert isinstance(broken(PopulationMonteCarlo.example()[1], Context(Rng(0))), Draws)
