"""The study of exactness runs offline and on a user's own history, judges rightly, refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from posteriori import Draws, Rng
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.domains.geography.exactness import grid, judge, questions, smooth_field, target_of, two_regimes
from posteriori.domains.geography.studies.exactness import Study
from posteriori.inference.conditional_diffusion import ConditionalDiffusion
from posteriori.inference.exact import Exact
from posteriori.learn.diffusion.training import HiddenCells
from posteriori.learn.plan import Plan

SMALL = Study(side=6, length=2.0, problems=24, draws=19, particles=32, fields=512, passes=1, conditional=True)


def _history(path: Path, fields: int = 60, hole: bool = False) -> Path:
    values = smooth_field(grid(8), 2.0, 280.0).sample(fields, Rng(0)).numpy()
    if hole:
        values[3, 4, 4] = np.nan
    at = np.arange(8.0)
    xr.DataArray(values, {"time": np.arange(fields), "y": at, "x": at}, name="t2m").to_netcdf(path, engine="h5netcdf")
    return path


def test_exact_draws_are_judged_exact_and_narrow_ones_are_not() -> None:
    """Standard errors at 200 problems: 0.01 of the mean, 0.5 % of the spread, 0.5 points of coverage."""
    law = smooth_field(grid(6), 2.0)
    target = target_of(questions(law.space, Rng(1))["blocks"], law, 1.0)
    truth, question = target.simulate(200, Rng(2))
    exact = Exact()(question, Context())
    x = exact.sample(39, Rng(3))
    sd = law.space.unflat(law.covariance.diagonal().sqrt())
    good = judge(Draws(law.space, x), truth, question, exact, sd, Rng(4))
    assert good.mean_error < 0.03
    assert good.sd_error < 0.03
    assert abs(good.coverage - 0.9) < 0.02
    assert good.sbc_p > 1e-3
    shifted = exact.center() + 0.1 + 0.7 * (x - exact.center())
    bad = judge(Draws(law.space, shifted), truth, question, exact, sd, Rng(4))
    assert bad.mean_error == pytest.approx(0.1, abs=0.02)
    assert bad.sd_ratio == pytest.approx(0.7, abs=0.02)
    assert bad.coverage < 0.82
    assert bad.sbc_p < 1e-3


def test_the_study_runs_and_draws_its_pictures() -> None:
    outcome = SMALL(Context(Rng(0)))
    assert set(outcome.tables) == {"samplers", "regimes"}
    assert outcome.scores["mask.analytic.mean_error"] < 0.1
    assert outcome.scores["mask.conditional.sd_ratio"] > 0
    assert outcome.scores["regimes.twisted.class_error"] < outcome.scores["regimes.gaussian_reference.class_error"]
    for picture in outcome.pictures.values():
        assert picture().axes


@pytest.mark.slow
def test_the_study_asks_about_the_law_of_a_users_own_fields(tmp_path: Path) -> None:
    study = Study(_history(tmp_path / "fields.nc"), side=6, problems=24, draws=19, particles=16, fields=512, passes=1)
    outcome = study(Context(Rng(0)))
    assert outcome.scores["mask.analytic.sd_error"] < 0.1
    assert len(outcome.data) == 1


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="side=3"):
        Study(side=3)
    with pytest.raises(OptionError, match="length"):
        Study(length=0.1)
    with pytest.raises(OptionError, match="data=FILE"):
        Study(variable="t2m")
    with pytest.raises(DataError, match="smaller side"):
        Study(_history(tmp_path / "a.nc"))(Context())
    with pytest.raises(DataError, match="longer history"):
        Study(_history(tmp_path / "b.nc", 20), side=6)(Context())
    with pytest.raises(DataError, match="gaps"):
        Study(_history(tmp_path / "c.nc", hole=True), side=6)(Context())


def test_masks_of_training_have_shares_within_their_range() -> None:
    masks = HiddenCells(0.2, 0.4)((400, 20, 20), Rng(0))
    share = masks.double().mean((1, 2))
    assert float(share.min()) > 0.1
    assert float(share.max()) < 0.5
    assert float(share.mean()) == pytest.approx(0.3, abs=0.02)
    with pytest.raises(OptionError, match="low <= high"):
        HiddenCells(0.9, 0.1)


def test_a_history_of_one_field_repeated_is_refused() -> None:
    own, target = ConditionalDiffusion.example()
    with pytest.raises(DataError, match="all alike"):
        own.fit(target.space, torch.ones(5, 4, 4), 0.3, HiddenCells(), Plan(1), Context())


def test_a_conditional_denoiser_follows_the_data_it_is_given() -> None:
    own, target = ConditionalDiffusion.example()
    low, high = (own(target.given(torch.full((5,), v).double()), Context(Rng(0))).center() for v in (-1.0, 1.0))
    assert float((high - low).mean()) > 0.2


def test_the_two_regimes_differ_in_pattern_and_scale() -> None:
    law = two_regimes(grid(8))
    x, which = law.labelled(4000, Rng(0))
    rough = (x[:, 1:] - x[:, :-1]).square().mean((1, 2))
    assert float(rough[which == 1].mean()) > 2 * float(rough[which == 0].mean())
    assert float((which == 0).double().mean()) == pytest.approx(0.4, abs=0.03)
