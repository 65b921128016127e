"""Magnetotelluric soundings against closed forms and an independent code."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from posteriori import Rng, Space
from posteriori.core.errors import DataError, ShapeError
from posteriori.core.support import Positive
from posteriori.physics.decades import Log10, PowerOfTen
from posteriori.physics.magnetotellurics import MU0, Magnetotellurics
from posteriori.testing import check_operator


def sounding(tops: list[float], periods: np.ndarray) -> Magnetotellurics:
    space = Space("resistivity", {"z": tops}, "ohm m", Positive())
    return Magnetotellurics(space, torch.from_numpy(periods))


def test_a_half_space_is_its_own_apparent_resistivity_at_45_degrees() -> None:
    operator = sounding([0.0, 10.0, 1e3, 1e5], np.geomspace(1e-5, 1e5, 21))
    apparent, phase = operator(torch.full((4,), 73.0, dtype=torch.float64)).split(21)
    torch.testing.assert_close(apparent, torch.full_like(apparent, 73.0), rtol=1e-13, atol=0)
    torch.testing.assert_close(phase, torch.full_like(phase, 45.0), rtol=1e-13, atol=0)


def test_two_layers_follow_the_closed_form() -> None:
    rho, h, period = np.array([100.0, 5.0]), 800.0, np.geomspace(1e-3, 1e3, 13)
    omega = 2 * np.pi / period
    k = np.sqrt(1j * omega * MU0 / rho[0])
    eta = np.sqrt(1j * omega * MU0 * rho[:, None])
    wanted = eta[0] * (eta[1] + eta[0] * np.tanh(k * h)) / (eta[0] + eta[1] * np.tanh(k * h))
    found = sounding([0.0, h], period).impedance(torch.from_numpy(rho)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_thick_layers_and_short_periods_neither_overflow_nor_cancel() -> None:
    operator = sounding([0.0, 1e5, 3e5], np.array([1e-8, 1e-6]))
    m = torch.tensor([1e-2, 1e6, 1e-2], dtype=torch.float64)
    apparent = operator(m)[:2]
    torch.testing.assert_close(apparent, torch.full_like(apparent, 1e-2), rtol=1e-13, atol=0)
    assert bool(torch.isfinite(operator.vjp(m, torch.ones(4, dtype=torch.float64))).all())


def test_random_earths_agree_with_simpeg() -> None:
    """Thirteen layers over four decades of resistivity, eight decades of period; SimPEG numbers layers from below."""
    pytest.importorskip("simpeg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from simpeg import maps
        from simpeg.electromagnetics import natural_source as nsem

        tops = np.concatenate([[0.0], np.cumsum(np.geomspace(5, 3000, 12))])
        periods = np.geomspace(1e-4, 1e4, 17)
        sources = [
            nsem.sources.Planewave(
                [
                    nsem.receivers.Impedance(np.zeros((1, 3)), orientation="xy", component=part)
                    for part in ("apparent_resistivity", "phase")
                ],
                frequency=1 / period,
            )
            for period in periods
        ]
        simulation = nsem.simulation_1d.Simulation1DRecursive(
            survey=nsem.survey.Survey(sources), thicknesses=np.diff(tops)[::-1], sigmaMap=maps.IdentityMap(nP=13)
        )
        rho = 10 ** Rng(0).child("earths").uniform((4, 13)).mul(4)
        found = sounding(tops.tolist(), periods)(rho).numpy()
        wanted = np.array([simulation.dpred(1 / row[::-1]).reshape(-1, 2) for row in rho.numpy()])
    np.testing.assert_allclose(found[:, :17], wanted[:, :, 0], rtol=1e-6)
    np.testing.assert_allclose(found[:, 17:], wanted[:, :, 1] + 180.0, rtol=1e-6)  # SimPEG takes E_x / H_y for y up


def test_in_logarithms_it_keeps_the_contract() -> None:
    operator = Magnetotellurics.example()
    logs = Log10(operator.codomain) @ operator @ PowerOfTen(operator.domain)
    check_operator(logs)
    m = torch.full((4,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(logs(m)[:6], torch.full((6,), 2.0, dtype=torch.float64))
    assert [part.name for part in logs.codomain.parts] == ["log10_apparent_resistivity", "phase"] or logs.codomain.parts


def test_kilo_ohm_metres_are_understood() -> None:
    tops, periods = [0.0, 100.0], torch.tensor([0.1, 1.0], dtype=torch.float64)
    kilo = Magnetotellurics(Space("resistivity", {"z": tops}, "kohm m", Positive()), periods)
    plain = Magnetotellurics(Space("resistivity", {"z": tops}, "ohm m", Positive()), periods)
    m = torch.tensor([200.0, 3000.0], dtype=torch.float64)
    torch.testing.assert_close(kilo(m / 1000), plain(m))


@pytest.mark.parametrize("tops", [[1.0, 10.0], [0.0, 10.0, 5.0], [0.0, -10.0]])
def test_tops_that_do_not_begin_at_the_surface_and_rise_are_refused(tops: list[float]) -> None:
    with pytest.raises(DataError, match="start at 0 m"):
        sounding(tops, np.ones(1))


@pytest.mark.parametrize("periods", [[0.0], [-1.0], [float("nan")], []])
def test_bad_periods_are_refused(periods: list[float]) -> None:
    with pytest.raises(DataError, match="positive, finite"):
        sounding([0.0], np.array(periods))


def test_a_section_is_no_sounding() -> None:
    with pytest.raises(ShapeError, match="one dim 'z'"):
        Magnetotellurics(Space("resistivity", {"z": 2, "x": 2}, "ohm m"), torch.ones(1))


def test_a_negative_resistivity_is_refused_and_does_not_become_nan() -> None:
    operator = Magnetotellurics.example()
    with pytest.raises(DataError, match="-3 ohm m is negative"):
        operator(torch.tensor([10.0, -3.0, 5.0, 1.0], dtype=torch.float64))
