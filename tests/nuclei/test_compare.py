"""The scorecard of methods, and how it says that one is not worth having."""

from __future__ import annotations

import pandas as pd
import pytest

from posteriori.core.errors import LeakError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.nuclei.studies import fusion, transfer
from posteriori.domains.nuclei.studies.compare import Study, biases, recommended


def card(rows: list[tuple[int, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["train", "method", "rms_keV"])
    return table.assign(test=2020, baseline="dz10")


def test_one_list_won_is_enough_and_none_is_not() -> None:
    table = recommended(
        card(
            [
                (2012, "lightgbm", 300),
                (2016, "lightgbm", 250),
                (2012, "krr", 290),
                (2016, "krr", 400),
                (2012, "gnn", 310),
                (2016, "gnn", 250),
            ]
        )
    )
    verdict = dict(zip(table["method"], table["recommended"], strict=True))
    assert verdict == {"lightgbm": "yes", "krr": "yes", "gnn": "no"}


def test_without_the_yardstick_nothing_is_said() -> None:
    assert set(recommended(card([(2016, "krr", 1.0)]))["recommended"]) == {""}


def test_every_method_states_its_bias() -> None:
    table = biases(["gp", "lightgbm", "krr", "mlp", "cnn", "gnn", "bnn"])
    assert table["inductive bias"].str.len().min() > 30


@pytest.mark.parametrize(
    ("study", "error"),
    [
        (Study(train="201x"), OptionError),
        (Study(train="2020"), OptionError),
        (Study(methods="gp+xgboost"), OptionError),
        (fusion.Study(baseline="dz10"), OptionError),
        (transfer.Study(theory="dz10"), OptionError),
        (transfer.Study(train=2003, theory="ws4"), LeakError),
    ],
    ids=str,
)
def test_bad_options_are_refused_before_anything_is_fitted(study: Study, error: type[Exception]) -> None:
    with pytest.raises(error):
        study(Context(Rng(0)))


@pytest.mark.slow
def test_the_study_scores_each_method_with_the_same_nuclei() -> None:
    outcome = Study(train="2016", baselines="dz10", methods="lightgbm+krr")(Context(Rng(0)))
    table = outcome.tables["scorecard"]
    assert list(table["n_test"]) == [71, 71]
    assert set(outcome.scores) == {"2016_2020.dz10.lightgbm", "2016_2020.dz10.krr"}
    assert table["mahalanobis2_per_n"].between(0.6, 1.5).all()
