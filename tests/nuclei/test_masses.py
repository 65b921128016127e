"""The masses and folds studies: refusals before the work, and their figures against recomputed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from posteriori.core.errors import DataError, LeakError, OptionError, PosterioriError
from posteriori.core.run import Context
from posteriori.core.store import Store
from posteriori.domains.nuclei import data, law
from posteriori.domains.nuclei.studies.compare import Study as Compare
from posteriori.domains.nuclei.studies.crossvalidation import Study as Folds
from posteriori.domains.nuclei.studies.masses import Study
from posteriori.domains.nuclei.studies.next import Study as Next
from posteriori.domains.nuclei.studies.outliers import Study as Outliers
from posteriori.domains.nuclei.studies.update import Study as Update


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
        (Study(tables=Path("/nowhere")), DataError, "does not exist"),
        (Study(tables=Path(__file__)), DataError, "is a file; give the folder"),
        (Study(baseline="mix+dz10"), OptionError, "give mix alone"),
        (Folds(folds=1), OptionError, "folds=1"),
        (Next(reach=0), OptionError, "reach=0"),
        (Next(planned=-5.0), OptionError, "planned=-5"),
        (Outliers(limit=-1.0), OptionError, "limit=-1"),
        (Update(zmax=5), OptionError, "zmax=5"),
        (Update(nuclide="4He"), OptionError, "fewer than 8"),
        (Update(mass=-25.0, sigma=0.05), DataError, "-25 keV for 54Ca"),
        (Update(sigma=5.0), OptionError, "without a mass"),
        (Update(file=Path("a.csv"), mass=-25000.0), OptionError, "give one of the two"),
        (Compare(baselines="dz10+hfb99"), OptionError, "no baseline 'hfb99'"),
    ],
)
def test_bad_options_are_refused_before_the_work(study: object, error: type[Exception], text: str) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work began before the options were checked")

    with pytest.raises(error, match=text):
        study(Context(progress=forbidden))  # type: ignore[operator, arg-type]


def own(folder: Path, nuclei: pd.DataFrame, mass: float) -> Path:
    rows = [f"{Z},{N},{mass},5\n" for Z, N in zip(nuclei["Z"], nuclei["N"], strict=True)]
    (folder / "own.csv").write_text("Z,N,mass_excess [keV],sigma [keV]\n" + "".join(rows))
    return folder / "own.csv"


def test_own_masses_replace_known_ones_and_are_not_scored(tmp_path: Path) -> None:
    """54Ca was known in 2016, 56Ca was measured after; the mass of both is set to -20 MeV."""
    study = Study(extra=own(tmp_path, pd.DataFrame({"Z": [20, 20], "N": [34, 36]}), -20000.0))
    given = study._own()
    assert given is not None
    known, later = study._with(given), study._later(given)
    assert len(known) == len(data.measured(2016)) + 1
    assert set(known[(known["Z"] == 20) & known["N"].isin([34, 36])]["mass_excess"]) == {-20000.0}
    assert len(later) == len(data.new_since(2016, 2020)) - 1
    assert later[(later["Z"] == 20) & (later["N"] == 36)].empty


def test_own_masses_that_leave_nothing_to_score_are_refused() -> None:
    with pytest.raises(OptionError, match="leave some out"):
        Study()._later(data.measured(2020))


def test_an_interrupted_fit_is_not_taken_up_with_other_masses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def fit_one(payload: dict[str, law.Question], context: Context) -> dict[str, Tensor]:
        told.append(len(payload["now"].masses))
        return {"kernel": torch.zeros(1)}

    monkeypatch.setattr(law, "_fit_one", fit_one)
    fit_one.__module__, fit_one.__qualname__ = law.__name__, "_fit_one"
    context = Context(store=Store(tmp_path))
    for masses in (data.measured(2016), data.measured(2016), data.measured(2016)[:-1]):
        law.fit_all({"now": law.Question(2016, ("dz10",), measured=masses)}, context)
    assert told == [len(data.measured(2016)), len(data.measured(2016)) - 1]


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
