"""The electrical studies on small files of known Earths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError
from posteriori.core.run import Context
from posteriori.core.support import Positive
from posteriori.domains.geophysics.edi import FIELD_UNIT, Impedances, write_edi
from posteriori.domains.geophysics.electric_section import extents, section_space
from posteriori.domains.geophysics.electric_sounding import Belief, layer_tops, skin_depth
from posteriori.domains.geophysics.resistivity_files import Survey, write_unified
from posteriori.domains.geophysics.studies import magnetotellurics, resistivity
from posteriori.physics.magnetotellurics import Magnetotellurics
from posteriori.physics.resistivity import Resistivity


def station(path: Path, scale: float = 1.0) -> None:
    """Two layers under five per cent of noise, of which ``scale`` is the share that the file admits."""
    period = np.geomspace(1e-2, 1e2, 13)
    space = Space("resistivity", {"z": [0.0, 2000.0]}, "ohm m", Positive())
    z = Magnetotellurics(space, torch.from_numpy(period)).impedance(torch.tensor([300.0, 20.0]).double()).numpy()
    noise = Rng(5).numpy.normal(size=(2, 13))
    noisy = z * (1 + 0.05 * (noise[0] + 1j * noise[1]))
    whole, sigma = np.zeros((13, 2, 2), complex), np.zeros((13, 2, 2))
    whole[:, 0, 1], whole[:, 1, 0] = noisy, -noisy
    sigma[:, 0, 1] = sigma[:, 1, 0] = 0.05 / scale * np.abs(z)
    write_edi(path, Impedances("T7", 0.0, 0.0, 0.0, period, whole, sigma, None, ""))


@pytest.mark.slow
def test_a_station_from_a_file(tmp_path: Path) -> None:
    station(tmp_path / "t7.edi")
    found = magnetotellurics.Study(data=tmp_path / "t7.edi", component="xy", layers=12, problems=30, quick=True)(
        Context()
    )
    assert found.scores["station"] == "T7"
    assert found.scores["error_factor"] == 1.0
    assert 0.7 < found.scores["residual_rms"] < 1.2
    assert 0.8 < found.scores["coverage90"] <= 1.0
    assert found.scores["rhat"] < 1.05
    table = found.tables["resistivity"]
    conductor = table[(table["top [m]"] > 2500) & (table["top [m]"] < 10e3)]
    np.testing.assert_allclose(conductor["resistivity [ohm m]"], 20.0, rtol=0.3)
    for draw in found.pictures.values():
        assert draw().axes


def test_impedances_in_ohm_are_noticed(tmp_path: Path) -> None:
    period = np.geomspace(1e-2, 1e2, 5)
    z = np.zeros((5, 2, 2), complex)
    z[:, 0, 1] = np.sqrt(2 * np.pi * 4e-7 * np.pi * 100 / period) * np.exp(0.25j * np.pi)
    z[:, 1, 0] = -z[:, 0, 1]
    wrong = Impedances("T8", 0.0, 0.0, 0.0, period, FIELD_UNIT * z, 0.02 * np.abs(FIELD_UNIT * z), None, "")
    write_edi(tmp_path / "ohm.edi", wrong)
    with pytest.raises(DataError, match="mV/km/nT"):
        magnetotellurics.Study(data=tmp_path / "ohm.edi", component="xy")(Context())


def test_options_are_checked_before_the_work() -> None:
    for study in (
        magnetotellurics.Study(layers=100_000),
        magnetotellurics.Study(sigma=0.0),
        magnetotellurics.Study(problems=10**9),
        resistivity.Study(error=-1.0),
        resistivity.Study(refinement=0),
        resistivity.Study(problems=10**9),
    ):
        with pytest.raises(OptionError):
            study(Context())


@pytest.mark.slow
def test_errors_that_are_stated_too_small_are_widened(tmp_path: Path) -> None:
    station(tmp_path / "t7.edi", scale=4.0)
    study = magnetotellurics.Study(
        data=tmp_path / "t7.edi", component="xy", floor=0.005, layers=10, problems=20, quick=True
    )
    assert study(Context()).scores["error_factor"] > 2.0


@pytest.mark.slow
def test_a_profile_from_a_file(tmp_path: Path) -> None:
    many = 9
    electrodes = np.stack([np.zeros(many), 2.0 * np.arange(many)], 1)
    quadrupoles = np.array([[i, i + 3 * s, i + s, i + 2 * s] for s in (1, 2) for i in range(many - 3 * s)])
    survey = Survey(electrodes, quadrupoles, np.ones(len(quadrupoles)), np.full(len(quadrupoles), 0.02), None, "")
    space = section_space(survey)
    truth = np.where(space.labels("z")[:, None] < 2, 50.0, 200.0) * np.ones(space.shape)
    physics = Resistivity(space, torch.from_numpy(electrodes), torch.from_numpy(quadrupoles))
    apparent = physics(torch.from_numpy(truth)).numpy() * np.exp(0.02 * Rng(0).numpy.normal(size=len(quadrupoles)))
    held = Survey(electrodes, quadrupoles, apparent, survey.error, np.full(len(quadrupoles), 0.02), "")
    write_unified(tmp_path / "p.ohm", held)
    found = resistivity.Study(data=tmp_path / "p.ohm", problems=3, refinement=2, quick=True)(Context())
    assert found.scores["data"] == len(quadrupoles)
    assert found.scores["residual_rms"] < 1.3
    assert 0.7 < found.scores["coverage90"] <= 1.0
    assert 10 < found.scores["chargeability_max"] < 40
    assert found.posterior is not None
    middle = found.posterior.center()[:, space.shape[1] // 2]
    assert 10 ** float(middle[0]) == pytest.approx(50, rel=0.15)
    assert float(middle[-1] - middle[0]) > 0.2
    for draw in found.pictures.values():
        assert draw().axes


def test_an_electrode_far_off_is_refused() -> None:
    x = np.append(2.0 * np.arange(8), 1e9)
    survey = Survey(np.stack([0 * x, x], 1), np.array([[0, 3, 1, 2], [1, 8, 2, 3]]), np.ones(2), np.ones(2), None, "")
    with pytest.raises(DataError, match="position that is off"):
        section_space(survey)


def test_layers_and_cells_cover_what_the_data_reach() -> None:
    assert skin_depth(100.0, 1.0) == pytest.approx(5033, rel=1e-3)
    tops = layer_tops(np.array([10.0, 1000.0]), np.array([0.01, 100.0]), 20)
    assert tops[0] == 0
    assert tops[-1] > skin_depth(1000.0, 100.0)
    covariance = Belief().covariance(np.geomspace(1, 1000, 7))
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0
    survey = Survey(
        np.stack([np.zeros(5), np.arange(5.0)], 1),
        np.array([[0, 3, 1, 2], [1, -1, 2, 4]]),
        np.ones(2),
        np.ones(2),
        None,
        "",
    )
    np.testing.assert_allclose(extents(survey), [[1.5, 2.5], [3.0, 3.0]])
    space = section_space(survey)
    assert space.labels("x")[0] < 0 < 4 < space.labels("x")[-1]
