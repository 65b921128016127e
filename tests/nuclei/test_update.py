"""One more mass: updating equals conditioning from scratch, and bad options are refused before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.run import Context
from posteriori.domains.nuclei import data
from posteriori.domains.nuclei.law import Fitted, Question, cells_of
from posteriori.domains.nuclei.studies.update import Study
from posteriori.domains.nuclei.updating import from_scratch, updated
from posteriori.domains.nuclei.widening import Widening

NEW = pd.DataFrame(
    {"Z": [50, 50, 48], "N": [85, 82, 84], "mass_excess": [-60600.0, -76500.0, -50500.0], "sigma": [4.0, 5.0, 30.0]}
)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """A widened law of two formulae at the kernel's first numbers."""
    table = data.measured(2003)
    masses = table[(table["Z"] >= 46) & (table["Z"] <= 54)].reset_index(drop=True)
    question = Question(2003, ("dz10", "semf9"), measured=masses)
    numbers = {
        name: {k: p.detach() for k, p in question.target(cells_of(masses), name).named_parameters()}
        for name in question.baselines
    }
    return Fitted(question, numbers, within=0.8, widening=Widening(1.2, 10.0))


@pytest.mark.parametrize("baseline", ["dz10", "semf9"])
def test_an_update_equals_conditioning_on_all_masses_at_once(fitted: Fitted, baseline: str) -> None:
    """One of the three was measured before; the others lie beyond the known region."""
    cells = cells_of(fitted.question.masses, NEW)
    quick = updated(fitted.component(cells, baseline, Context()), NEW)
    whole = from_scratch(fitted.target(cells, baseline), NEW)
    sd = whole.spread().detach()
    assert float(((quick.center() - whole.center()).detach().abs() / sd).max()) < 1e-6
    assert float((quick.spread().detach() / sd - 1).abs().max()) < 1e-6
    names = ["135Sn", "133Sn", "134Cd"] if "134Cd" in cells.labels("nuclide") else ["135Sn", "133Sn", "132Cd"]
    assert quick.cov(names).values == pytest.approx(whole.cov(names).values, rel=1e-6)


def test_the_widened_mixture_updates_by_the_textbook_formula(fitted: Fitted) -> None:
    law = fitted.law(cells_of(fitted.question.masses, NEW), Context())
    after = updated(law, NEW)
    sigma, mu = law.dense().matrix.detach().numpy(), law.center().detach().numpy()
    at = law.space.index("nuclide", ["135Sn", "132Sn", "132Cd"]).numpy()
    gain = np.linalg.solve(sigma[np.ix_(at, at)] + np.diag(NEW["sigma"] ** 2), sigma[at])
    assert after.center().detach().numpy() == pytest.approx(mu + (NEW["mass_excess"] - mu[at]) @ gain, abs=1e-4)
    spread = np.sqrt(np.diag(sigma - sigma[at].T @ gain))
    assert after.spread().detach().numpy() == pytest.approx(spread, rel=1e-6)


def test_two_updates_are_one(fitted: Fitted) -> None:
    law = fitted.law(cells_of(fitted.question.masses, NEW), Context())
    once = updated(law, NEW)
    twice = updated(updated(law, NEW[:1]), NEW[1:])
    assert torch.allclose(once.center(), twice.center(), rtol=0, atol=1e-4)
    assert torch.allclose(once.spread(), twice.spread(), rtol=1e-6)


def test_nuclei_off_the_chart_or_given_twice_are_refused(fitted: Fitted) -> None:
    law = fitted.component(cells_of(fitted.question.masses), "dz10", Context())
    with pytest.raises(ShapeError, match="135Sn"):
        updated(law, NEW[:1])
    with pytest.raises(ShapeError, match="132Sn"):
        updated(law, pd.concat([NEW[1:2], NEW[1:2]]))


def test_bad_options_are_refused_before_any_fit(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="sigma"):
        Study(mass=-25000.0)(Context())
    with pytest.raises(OptionError, match="mass="):
        Study(test=None)(Context())
    with pytest.raises(OptionError, match="not measured in AME2020"):
        Study(nuclide="70Ca")(Context())
    with pytest.raises(OptionError, match="nuclide"):
        Study(nuclide="Tin")(Context())
    bad = tmp_path / "mine.csv"
    bad.write_text("Z,N,mass_excess [keV],sigma [keV]\n20,34,-25000,-3\n")
    with pytest.raises(DataError, match="line 2"):
        Study(file=bad)(Context())
