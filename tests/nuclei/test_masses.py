"""The masses and folds studies: refusals before the work, and their figures against recomputed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posteriori.core.errors import DataError, LeakError, OptionError, PosterioriError
from posteriori.core.run import Context
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.studies.crossvalidation import Study as Folds
from posteriori.domains.nuclei.studies.masses import Study


@pytest.mark.parametrize(
    ("study", "error", "text"),
    [
        (Study(train=2020, test=2016), OptionError, "not before"),
        (Study(train=1999), OptionError, "no evaluation of 1999"),
        (Study(baseline="hfb99"), OptionError, "no baseline"),
        (Study(train=2003, baseline="ws4"), LeakError, "AME2012"),
        (Study(method="magic"), OptionError, "magic"),
        (Study(baseline="ws3", tables=Path("/nowhere")), DataError, "nowhere"),
        (Study(extra=Path("/nowhere.csv")), PosterioriError, "nowhere"),
        (Folds(folds=1), OptionError, "folds=1"),
    ],
)
def test_bad_options_are_refused_before_the_work(study: object, error: type[Exception], text: str) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work began before the options were checked")

    with pytest.raises(error, match=text):
        study(Context(progress=forbidden))  # type: ignore[operator, arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("train", "test"), [(1995, 2003), (2012, 2016)])
def test_any_pair_of_evaluations_works_and_scores_add_up(train: int, test: int) -> None:
    outcome = Study(train=train, test=test)(Context())
    table = outcome.tables["predictions"]
    assert len(table) == len(data.new_since(train, test)) == outcome.scores["n_test"]
    error = table["predicted [keV]"] - table["measured [keV]"]
    assert outcome.scores["rms_keV"] == pytest.approx(float(np.sqrt((error**2).mean())))
    z = error / np.hypot(table["sd [keV]"], table["sigma [keV]"])
    assert outcome.scores["coverage68"] == pytest.approx(float((z.abs() < 0.9944579).mean()))
    assert float(outcome.scores["rms_keV"]) < 600  # type: ignore[arg-type]  # the bare formula errs by more than 800
    for draw in outcome.pictures.values():
        assert draw().axes
