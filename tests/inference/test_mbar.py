"""MBAR and BAR against exact free energies, pymbar and repeated sampling; low overlap is refused."""

from __future__ import annotations

import logging
import warnings
from math import log, sqrt

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.random import Rng
from posteriori.inference.bar import bar
from posteriori.inference.free_energy import Series, inefficiency
from posteriori.inference.mbar import mbar

STIFFNESS = torch.tensor([1.0, 4.0, 16.0, 64.0], dtype=torch.float64)


def wells(seed: int, n: int = 2000) -> Tensor:
    """Energies of ``n`` exact rows of each of four harmonic wells, in all of them."""
    x = torch.cat([Rng(seed).child("well", k).normal((n,)) / sqrt(float(s)) for k, s in enumerate(STIFFNESS)])
    return STIFFNESS[:, None] * x.square() / 2


def chain(n: int, keep: float, rng: Rng) -> Tensor:
    """A stationary standard normal series whose neighbours correlate by ``keep``."""
    noise = rng.normal((n,)).numpy()
    noise[1:] *= sqrt(1 - keep**2)
    return torch.from_numpy(lfilter([1.0], [1.0, -keep], noise))


def test_harmonic_wells_have_their_exact_free_energies() -> None:
    """f_k = log(k) / 2; false alarm 2e-4."""
    found = mbar(wells(0), [2000] * 4).free_energies
    for k in range(1, 4):
        value, error = found.difference(0, k)
        assert 0.008 < error < 0.035
        assert abs(value - k * log(4) / 2) < 4 * error


def test_pymbar_agrees() -> None:
    energies, counts = wells(1), [2000] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        peer = pytest.importorskip("pymbar").MBAR(energies.numpy(), np.array(counts))
        theirs = peer.compute_free_energy_differences()
        logging.disable(logging.NOTSET)
    ours = mbar(energies, counts, correlated=False)
    assert np.allclose(ours.values.numpy(), theirs["Delta_f"][0], atol=1e-7)
    assert np.allclose(ours.free_energies.errors().numpy(), theirs["dDelta_f"][0], rtol=0.02, atol=1e-9)
    assert np.allclose(ours.overlap.numpy(), peer.compute_overlap()["matrix"], atol=1e-7)
    mean, error = ours.mean(energies[0], energies[:1])
    expected = peer.compute_expectations(energies[0].numpy(), state_dependent=False)
    assert np.allclose([mean[0], error[0]], [expected["mu"][0], expected["sigma"][0]], rtol=0.01)


def test_bar_is_mbar_of_two_states() -> None:
    rows = wells(2)[:2, :4000]
    gap = rows[1] - rows[0]
    two = bar(gap[:2000], gap[2000:], correlated=False)
    value, error = mbar(rows, [2000, 2000], correlated=False).free_energies.difference(0, 1)
    assert two.difference(0, 1) == pytest.approx((value, error), rel=1e-6)


def test_a_state_without_rows_and_expectations() -> None:
    """A well between two sampled ones, and its mean energy of one half; false alarm 1e-4 each."""
    energies = wells(3)
    middle = 2 * energies[:1]
    states = mbar(torch.cat([energies, middle]), [2000] * 4 + [0])
    value, error = states.free_energies.difference(0, 4)
    assert abs(value - log(2) / 2) < 4 * error
    again = states.asked(torch.cat([energies[:1], middle])).difference(0, 1)
    assert again == pytest.approx((value, error), rel=1e-6)
    mean, its_error = states.mean(middle[0], middle)
    assert abs(float(mean) - 0.5) < 4 * float(its_error)
    assert float(its_error) < 0.02


def test_states_that_do_not_meet_are_refused_by_name() -> None:
    rng = Rng(4)
    centres = torch.tensor([0.0, 1.0, 8.0, 9.0], dtype=torch.float64)
    x = torch.cat([rng.normal((500,)) + c for c in centres])
    with pytest.raises(UnanswerableError, match=r"states \[(0, 1|2, 3)\] and \[(0, 1|2, 3)\] share .* effective rows"):
        mbar((x - centres[:, None]).square() / 2, [500] * 4)


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
def test_broken_energies_are_refused(bad: float) -> None:
    energies = wells(5, 50)
    energies[1, 7] = bad
    with pytest.raises(DataError, match="row 7 in state 1 is NaN or -inf"):
        mbar(energies, [50] * 4)


def test_wrong_counts_and_forbidden_rows_are_refused() -> None:
    energies = wells(6, 50)
    with pytest.raises(DataError, match="are not \\(state, row\\)"):
        mbar(energies, [50] * 3 + [49])
    with pytest.raises(DataError, match="equal chains"):
        mbar(energies, [50] * 4, chains=3)
    energies[0, 3] = torch.inf
    with pytest.raises(DataError, match="row 3 is said to come from state 0"):
        mbar(energies, [50] * 4)


def test_energies_far_from_zero_lose_nothing() -> None:
    """Offsets of a million kT move free energies by themselves."""
    energies = wells(7)
    offset = torch.tensor([0.0, 1e6, -1e6, 3e5], dtype=torch.float64)
    found, plain = mbar(energies + offset[:, None], [2000] * 4), mbar(energies, [2000] * 4)
    assert torch.allclose(found.values - offset, plain.values, atol=1e-6)


def test_inefficiency_of_a_known_series() -> None:
    """(1 + a) / (1 - a) = 9 for a = 0.8, within 15 %; 1 for independent rows and rows that never change."""
    series = chain(40_000, 0.8, Rng(8)).reshape(4, 10_000).mT[..., None]
    assert float(inefficiency(series)) == pytest.approx(9, rel=0.15)
    assert float(inefficiency(Rng(8).normal((5000, 2, 1)))) == pytest.approx(1, abs=0.1)
    assert float(inefficiency(torch.ones(100, 2, 1))) == 1.0
    assert Series.of([4, 0], 2).parts(torch.arange(4.0))[0].shape == (2, 2)


@pytest.mark.slow
def test_errors_are_those_of_repeated_sampling() -> None:
    """z-scores of 200 repeats: mean 0 within 4 errors, spread 1 within 15 % (3 errors)."""
    z = []
    for seed in range(200):
        found = mbar(wells(100 + seed, 500), [500] * 4).free_energies
        z.append([(found.difference(0, k)[0] - k * log(4) / 2) / found.difference(0, k)[1] for k in (1, 2, 3)])
    scores = torch.tensor(z)
    assert bool((scores.mean(0).abs() < 4 / sqrt(200)).all())
    assert bool(((scores.std(0) - 1).abs() < 0.15).all())


@pytest.mark.slow
def test_correlated_rows_cost_what_they_cost() -> None:
    """Series of inefficiency 19: honest errors with the correlation, errors less than half as large without."""
    z, blind = [], []
    for seed in range(60):
        rng = Rng(300 + seed)
        x = torch.cat([chain(2000, 0.9, rng.child("well", k)) / sqrt(s) for k, s in enumerate((1.0, 4.0))])
        energies = torch.tensor([[1.0], [4.0]], dtype=torch.float64) * x.square() / 2
        honest, other = (mbar(energies, [2000, 2000], correlated=c).free_energies for c in (True, False))
        z.append((honest.difference(0, 1)[0] - log(4) / 2) / honest.difference(0, 1)[1])
        blind.append((other.difference(0, 1)[0] - log(4) / 2) / other.difference(0, 1)[1])
    assert 0.6 < float(torch.tensor(z).std()) < 1.35
    assert float(torch.tensor(blind).std()) > 1.7


@pytest.mark.slow
def test_the_bootstrap_agrees_where_overlap_is_good_and_is_taken_where_it_does_not() -> None:
    states = mbar(wells(9), [2000] * 4)
    ratio = states.bootstrap(Rng(9), 60).errors()[1:] / states.free_energies.errors()[1:]
    assert bool(((ratio - 1).abs() < 0.4).all())
    assert torch.equal(states.checked(Rng(9), 60).covariance, states.free_energies.covariance)
    x = torch.cat([Rng(10).child("a").normal((60,)), 4.2 + Rng(10).child("b").normal((60,))])
    energies = torch.stack([x.square(), (x - 4.2).square()]) / 2
    poor = mbar(energies, [60, 60], correlated=False, least_shared=0.0)
    found = poor.checked(Rng(10), 60).errors()[1]
    assert float(found) in (
        pytest.approx(float(e.errors()[1])) for e in (poor.free_energies, poor.bootstrap(Rng(10), 60))
    )
