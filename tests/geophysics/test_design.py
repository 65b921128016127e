"""Designed surveys against regular ones; the expected errors that judge them against conditioning and simulation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.noise import Normal
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Inverse
from posteriori.domains.geophysics.design import (
    Choice,
    Expected,
    Zone,
    gravity_choice,
    matched,
    paired_errors,
    regular,
    wave_choice,
)
from posteriori.domains.geophysics.studies.design import Study
from posteriori.inference.exact import Exact

ZONE = Zone(300, 900, 2500, 4000)


@pytest.fixture(scope="module")
def choice() -> Choice:
    return gravity_choice(ZONE, 50.0, 500.0, 0.1, spacing=400.0)


def test_the_expected_error_is_what_conditioning_leaves(choice: Choice) -> None:
    chosen = torch.tensor([3, 17, 9])
    labels = choice.candidates.codomain.labels("station")[chosen.numpy()]
    part = choice.candidates.select("station", labels)
    after = Exact()(Inverse(part, choice.law, torch.zeros(3).double(), Normal(choice.noise)), Context())
    left = float(after.covariance.under(choice.goal))
    assert Expected.of(choice)(chosen) == pytest.approx(left, rel=1e-8)


def test_simulated_errors_average_to_the_expected_one(choice: Choice) -> None:
    """Within 4.5 standard errors; false alarm below 1e-4 for three surveys."""
    surveys = [choice.ranking(4).chosen, regular(29, 4), regular(29, 6)]
    errors = paired_errors(choice, surveys, 2000, Rng(1))
    for survey, found in zip(surveys, errors.T, strict=True):
        error = float(found.std()) / 2000**0.5
        assert abs(float(found.mean()) - Expected.of(choice)(survey)) < 4.5 * error


def test_the_first_station_is_the_best_and_a_designed_survey_matches_a_larger_regular_one(choice: Choice) -> None:
    error, ranking = Expected.of(choice), choice.ranking(6)
    best = min(range(29), key=lambda i: error(torch.tensor([i])))
    assert int(ranking.chosen[0]) == best
    surveys = [regular(29, n) for n in range(1, 30)]
    for k in (4, 6):
        assert matched(error, error(ranking.chosen[:k]), surveys) >= 1.5 * k
    assert error(ranking.chosen[:1]) == pytest.approx(float(error.total) - float(ranking.added[0]), rel=1e-9)


def test_greedy_stations_come_near_the_best_ones(choice: Choice) -> None:
    """Of all sets of two the greedy one leaves at most 3 % more variance than the best."""
    error = Expected.of(choice)
    best = min(error(torch.tensor(pair)) for pair in itertools.combinations(range(29), 2))
    assert error(choice.ranking(2).chosen) <= 1.03 * best


def test_regular_surveys_are_even() -> None:
    assert regular(12, 3).tolist() == [2, 6, 10]
    assert regular(12, 12).tolist() == list(range(12))
    assert regular(100, 2, 0.5, 1.0).tolist() == [62, 87]


@pytest.mark.slow
def test_shots_are_ranked_by_what_their_records_tell() -> None:
    """A designed pair beats the regular one, and the ranking's variance is that of the information matrices."""
    waves = wave_choice(Zone(150, 300, 700, 1000), modes=12, shots=5)
    told = waves.told()
    ranking = waves.ranking(told, 3)
    nothing = torch.tensor([], dtype=torch.int64)
    cells = waves.goal.codomain.size
    fall = waves.left(told, nothing) - waves.left(told, ranking.chosen[:2])
    assert cells * fall == pytest.approx(float(ranking.added[:2].sum()), rel=1e-6)
    pairs = {pair: waves.left(told, torch.tensor(pair)) for pair in itertools.combinations(range(5), 2)}
    assert waves.left(told, ranking.chosen[:2]) <= 1.05 * min(pairs.values())
    # the tangent is the change of the records for a small change of the modes
    step = 1e-4 * Rng(0).normal((12,)).double()
    at = waves.modes.location
    with torch.no_grad():
        moved = waves.operator(at + step) - waves.operator(at - step)
    wanted = (moved / (2 * waves.noise)).square().sum()
    assert float((told.matrix @ step).square().sum()) == pytest.approx(float(wanted), rel=1e-3)


@pytest.mark.slow
def test_the_study_reports_ratios_and_refuses_nonsense() -> None:
    outcome = Study(waves=False, truths=50)(Context(rng=Rng(0)))
    assert outcome.report["ratio.median"].value >= 1.5
    assert set(outcome.tables) == {"variants", "asked"}
    for picture in outcome.pictures.values():
        picture()
    for wrong in (
        Study(sd=-1.0),
        Study(noise=0.0),
        Study(top=900.0, bottom=300.0),
        Study(truths=3),
    ):
        with pytest.raises(OptionError):
            wrong(Context())


@pytest.mark.parametrize(
    "options", [{"left": 2e5, "right": 3e5}, {"left": -9.0}, {"bottom": 1e9}, {"count": 10**5}, {"truths": 10**9}]
)
def test_what_the_line_does_not_hold_is_refused_before_the_work(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"deep and the line|lies in"):
        Study(**options)(Context())
