"""Likely wrong masses: the law of each error against the joint law written out, and planted errors found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori.core.errors import OptionError
from posteriori.core.run import Context
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.law import Fitted, Question, cells_of, reweighted
from posteriori.domains.nuclei.studies.outliers import Study, threshold, with_outcome
from posteriori.domains.nuclei.suspects import suspects


def region(year: int) -> pd.DataFrame:
    table = data.measured(year)
    return table[(table["Z"] >= 46) & (table["Z"] <= 56)].reset_index(drop=True)


def unfitted(masses: pd.DataFrame, year: int, *baselines: str) -> Fitted:
    """A law at the kernel's first numbers: nothing to fit."""
    question = Question(year, baselines, measured=masses)
    cells = cells_of(masses)
    numbers = {b: {k: p.detach() for k, p in question.target(cells, b).named_parameters()} for b in baselines}
    return Fitted(question, numbers)


def test_errors_and_predictions_are_those_of_the_joint_law() -> None:
    """Truth and values of one chart as one Gaussian vector, conditioned by the textbook formula."""
    masses = region(2003)
    fitted = unfitted(masses, 2003, "dz10")
    table = suspects(fitted, 500.0).set_index("nuclide")
    target = reweighted(fitted.question.target(cells_of(masses), "dz10"))
    with torch.no_grad():
        k = target.prior.covariance.dense().numpy()
        r = target.noise.matrix().numpy()
    names = target.operator.codomain.labels("nuclide")
    order = target.operator.index.numpy()
    k, mu = k[np.ix_(order, order)], target.prior.location.numpy()[order]
    y, s = target.data.numpy(), k + r
    weights = np.linalg.solve(s, np.column_stack([y - mu, r]))
    assert table["error"][names].to_numpy() == pytest.approx(r @ weights[:, 0], rel=1e-6, abs=1e-4)
    sd = np.sqrt(np.diag(r - r @ weights[:, 1:]))
    assert table["error sd"][names].to_numpy() == pytest.approx(sd, rel=1e-5)
    for i in (0, 17, 101):
        rest = np.delete(np.arange(len(y)), i)
        gain = np.linalg.solve(s[np.ix_(rest, rest)], np.column_stack([(y - mu)[rest], k[rest, i]]))
        assert table["others say"][names[i]] == pytest.approx(mu[i] + k[i, rest] @ gain[:, 0], abs=1e-3)
        assert table["others sd"][names[i]] == pytest.approx(np.sqrt(k[i, i] - k[i, rest] @ gain[:, 1]), rel=1e-5)


@pytest.mark.parametrize("year", [2003, 2020])
def test_planted_errors_come_first(year: int) -> None:
    """Three values of one region moved by 3 MeV, their sigma left as it was, lead the list with their sign."""
    masses = region(year)
    rng = np.random.default_rng(5)
    rows = rng.choice(np.flatnonzero(masses["sigma"].between(5, 100)), 3, replace=False)
    planted = dict(zip(rows, (3000.0, -3000.0, 3000.0), strict=True))
    for row, shift in planted.items():
        masses.loc[row, "mass_excess"] += shift
    table = suspects(unfitted(masses, year, "dz10", "semf9"), 500.0)
    first = table.head(3)
    assert set(zip(first["Z"], first["N"], strict=True)) == {tuple(masses.loc[row, ["Z", "N"]]) for row in rows}
    assert (first["P wrong"] > 0.9).all()
    signs = {tuple(masses.loc[row, ["Z", "N"]]): np.sign(shift) for row, shift in planted.items()}
    assert all(np.sign(row.error) == signs[row.Z, row.N] for row in first.itertuples())


def test_what_happened_later() -> None:
    table = data.measured(2003).rename(columns={"measured": "was"})
    judged = with_outcome(table, 2020, 500.0)
    assert int(judged["wrong"].sum()) == 31
    assert threshold(pd.Series([float(k) for k in range(101)] + [1e9]), pd.Series([False] * 101 + [True])) == 95.0


def test_years_that_do_not_exist_are_refused_before_any_fit() -> None:
    with pytest.raises(OptionError, match="evaluation"):
        Study(train=2004)(Context())
    with pytest.raises(OptionError, match="not before"):
        Study(train=2020, test=2003)(Context())
