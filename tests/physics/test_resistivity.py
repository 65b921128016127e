"""Direct currents in a section against closed forms, reciprocity and an independent code."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posteriori import Rng, Space
from posteriori.core.errors import DataError, OptionError, PosterioriError, ShapeError
from posteriori.core.support import Positive
from posteriori.physics.decades import Log10, PowerOfTen
from posteriori.physics.induced_polarisation import InducedPolarisation
from posteriori.physics.resistivity import Resistivity
from posteriori.physics.resistivity_mesh import cell_borders, wavenumbers
from posteriori.testing import check_operator

SPACING, MANY = 5.0, 16
Floats = NDArray[np.float64]


def section() -> Space:
    z, x = np.concatenate([np.arange(0.5, 8), [10.0, 14.0, 20.0]]), np.arange(-7.5, SPACING * MANY + 5, 2.5)
    return Space("resistivity", {"z": z, "x": x}, "ohm m", Positive())


def electrodes(many: int = MANY) -> torch.Tensor:
    return torch.stack([torch.zeros(many), SPACING * torch.arange(many)], 1).double()


def layout(many: int = MANY) -> list[list[int]]:
    """Wenner and dipole-dipole."""
    wenner = [[i, i + 3 * s, i + s, i + 2 * s] for s in range(1, 5) for i in range(many - 3 * s)]
    dipoles = [[i + 1, i, i + 1 + n, i + 2 + n] for n in range(1, 6) for i in range(many - n - 2)]
    return wenner + dipoles


def apparent(potential: Callable[[int, int], float]) -> Floats:
    """Apparent resistivities of the layout from potentials [V/A] between two electrodes."""

    def voltage(v: Callable[[int, int], float], a: int, b: int, m: int, n: int) -> float:
        return v(a, m) - v(a, n) - v(b, m) + v(b, n)

    def unit(i: int, j: int) -> float:
        return 1 / (2 * np.pi * SPACING * abs(i - j))

    return np.array([voltage(potential, *q) / voltage(unit, *q) for q in layout()])


def layered(upper: float, lower: float, thickness: float) -> Floats:
    """Images of a source on two layers.

    Reference: Telford, Geldart & Sheriff (1990), Applied Geophysics, section 8.3.
    """
    k, i = (lower - upper) / (lower + upper), np.arange(1, 20000)

    def potential(a: int, m: int) -> float:
        r = SPACING * abs(a - m)
        images = float((k**i / np.sqrt(r**2 + (2 * i * thickness) ** 2)).sum())
        return upper / (2 * np.pi) * (1 / r + 2 * images)

    return apparent(potential)


def beside(left: float, right: float, contact: float) -> Floats:
    """One image of a source beside a vertical contact."""

    def potential(a: int, m: int) -> float:
        here, there = (left, right) if SPACING * a < contact else (right, left)
        k, r = (there - here) / (there + here), SPACING * abs(a - m)
        if (SPACING * a < contact) == (SPACING * m < contact):
            return here / (2 * np.pi) * (1 / r + k / abs(2 * contact - SPACING * (a + m)))
        return here / (2 * np.pi) * (1 + k) / r

    return apparent(potential)


@pytest.fixture(scope="module")
def operator() -> Resistivity:
    return Resistivity(section(), electrodes(), torch.tensor(layout()))


def test_a_half_space_is_exact(operator: Resistivity) -> None:
    found = operator(torch.full(operator.domain.shape, 37.0, dtype=torch.float64))
    torch.testing.assert_close(found, torch.full_like(found, 37.0), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("upper", "lower"), [(100.0, 10.0), (10.0, 100.0), (100.0, 300.0), (1000.0, 10.0)])
def test_two_layers_agree_with_images(operator: Resistivity, upper: float, lower: float) -> None:
    """1 % at the recommended eight cells per electrode spacing, the layer 0.8 spacings thick."""
    border = cell_borders(operator.domain)[0][4]
    m = torch.full(operator.domain.shape, upper, dtype=torch.float64)
    m[4:] = lower
    np.testing.assert_allclose(operator(m).numpy(), layered(upper, lower, border), rtol=1e-2)


@pytest.mark.parametrize(("left", "right"), [(10.0, 100.0), (1000.0, 10.0)])
def test_a_vertical_contact_agrees_with_its_image(operator: Resistivity, left: float, right: float) -> None:
    contact = cell_borders(operator.domain)[1][20]
    m = torch.full(operator.domain.shape, left, dtype=torch.float64)
    m[:, 20:] = right
    np.testing.assert_allclose(operator(m).numpy(), beside(left, right, contact), rtol=5e-3)


def test_buried_electrodes_see_the_mirror_image() -> None:
    """A half-space again, where the exact potential has two terms, and layers seen from a hole by reciprocity."""
    places = torch.cat([electrodes(6), torch.tensor([[6.0, 12.0], [9.0, 12.0]], dtype=torch.float64)])
    there, back = [[0, -1, 6, 7], [1, 6, 3, 4]], [[6, 7, 0, -1], [3, 4, 1, 6]]
    operator = Resistivity(section(), places, torch.tensor(there + back), refinement=4)
    m = 10 ** (1.5 + 0.4 * Rng(3).normal(operator.domain.shape))
    found = operator(m)
    torch.testing.assert_close(found[:2], found[2:], rtol=1e-9, atol=0)
    assert np.isinf(operator.codomain.extra["b_x"][1][0])
    assert operator.codomain.extra["m_z"][1][0] == 6.0


def test_a_section_agrees_with_simpeg() -> None:
    """A conductor under a resistive cover beside a contact, to 1 %; both codes refined until they stand still."""
    pytest.importorskip("simpeg")
    many, quadrupoles = (
        7,
        [[0, 3, 1, 2], [1, 4, 2, 3], [3, 6, 4, 5], [0, 6, 2, 4], [1, 0, 2, 3], [1, 0, 4, 5], [2, 1, 5, 6]],
    )
    space = Space("resistivity", {"z": np.arange(1, 16, 2.0), "x": np.arange(-8.75, 40, 2.5)}, "ohm m", Positive())
    m = np.full(space.shape, 100.0)
    m[1:3, 7:11], m[4:], m[:2, 14:] = 20.0, 300.0, 40.0
    found = Resistivity(space, electrodes(many), torch.tensor(quadrupoles))(torch.from_numpy(m)).numpy()
    np.testing.assert_allclose(found, simpeg_apparent(space, m, quadrupoles), rtol=1e-2)


def simpeg_apparent(space: Space, m: Floats, quadrupoles: list[list[int]]) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from discretize import TensorMesh
        from simpeg import maps
        from simpeg.electromagnetics.static import resistivity as dc

        down, across = cell_borders(space)
        h = 0.5
        pad = h * 1.3 ** np.arange(1, 26)
        hx = np.r_[pad[::-1], np.full(round((across[-1] - across[0]) / h), h), pad]
        hz = np.r_[pad[::-1], np.full(round(down[-1] / h), h)]
        mesh = TensorMesh([hx, hz], x0=[across[0] - pad.sum(), -hz.sum()])
        x, z = mesh.cell_centers[:, 0], -mesh.cell_centers[:, 1]
        ix = np.clip(np.searchsorted(across, x) - 1, 0, space.shape[1] - 1)
        iz = np.clip(np.searchsorted(down, z) - 1, 0, space.shape[0] - 1)
        place = np.c_[SPACING * np.arange(7), np.zeros(7)]
        sources = [
            dc.sources.Dipole([dc.receivers.Dipole(place[[k]], place[[n]])], place[a], place[b])
            for a, b, k, n in quadrupoles
        ]
        survey = dc.Survey(sources)
        simulation = dc.Simulation2DNodal(mesh, survey=survey, sigmaMap=maps.IdentityMap(mesh), nky=21)
        return 100 * simulation.dpred(1 / m[iz, ix]) / simulation.dpred(np.full(mesh.n_cells, 0.01))


def test_finer_lattices_converge() -> None:
    """The error of two layers falls at least as fast as the cells of the lattice."""
    m = torch.full(section().shape, 100.0, dtype=torch.float64)
    m[4:] = 10.0
    wanted = layered(100.0, 10.0, cell_borders(section())[0][4])
    found = [Resistivity(section(), electrodes(), torch.tensor(layout()), refinement=r)(m) for r in (2, 4, 8)]
    coarse, middle, fine = (np.abs(f.numpy() / wanted - 1).max() for f in found)
    assert middle < 0.5 * coarse
    assert fine < 0.5 * middle


def test_in_logarithms_the_derivatives_are_exact() -> None:
    operator = Resistivity.example()
    check_operator(Log10(operator.codomain) @ operator @ PowerOfTen(operator.domain))


def test_sensitivities_add_up_to_the_data(operator: Resistivity) -> None:
    """Apparent resistivity scales with resistivity, so that Σ ρ ∂ρ_a/∂ρ = ρ_a (Euler)."""
    m = 10 ** (2 + 0.3 * Rng(2).normal(operator.domain.shape))
    whole = (operator.sensitivity(m) * m).sum((-2, -1))
    torch.testing.assert_close(whole, operator(m), rtol=1e-8, atol=0)


def test_small_chargeabilities_are_seen_as_by_two_measurements() -> None:
    """Seigel: η_a = 1 - ρ_a(ρ) / ρ_a(ρ / (1 - η)); a homogeneous η is its own apparent value."""
    direct = Resistivity.example()
    m = 10 ** (2 + 0.3 * Rng(4).normal(direct.domain.shape))
    operator = InducedPolarisation(direct, m)
    same = torch.full(direct.domain.shape, 0.1, dtype=torch.float64)
    torch.testing.assert_close(operator(same), torch.full((3,), 0.1, dtype=torch.float64), rtol=1e-8, atol=0)
    small = 1e-4 * Rng(5).uniform(direct.domain.shape)
    exact = 1 - direct(m) / direct(m / (1 - small))
    torch.testing.assert_close(operator(small), exact, rtol=1e-3, atol=0)


def test_wavenumbers_give_the_potential_of_a_homogeneous_earth() -> None:
    from scipy.special import k0

    k, w = wavenumbers(1.0, 300.0)
    r = np.geomspace(1.0, 300.0, 77)
    np.testing.assert_allclose((k0(np.outer(r, k)) * w).sum(1), np.pi / (2 * r), rtol=2e-5)
    with pytest.raises(DataError, match="too many decades"):
        wavenumbers(1.0, 1e9)


E = [[0.0, 0.0], [0.0, 5.0], [0.0, 10.0], [0.0, 15.0]]
BAD = {
    "outside the section": ([*E[:3], [0.0, 1e4]], [[0, 3, 1, 2]], DataError),
    "above the surface": ([*E[:3], [-1.0, 5.0]], [[0, 3, 1, 2]], DataError),
    "at one place": ([*E[:3], [0.0, 5.0]], [[0, 3, 1, 2]], DataError),
    "names the electrodes": (E, [[0, 4, 1, 2]], DataError),
    "no two may be the same": (E, [[0, 0, 1, 2]], DataError),
    "nor a pair absent": (E, [[0, 1, -1, -1]], DataError),
    "geometric factor is infinite": ([*E[:3], [0.0, -5.0]], [[1, -1, 0, 2]], DataError),
    "whole numbers": (E, [[0, 1, 2]], ShapeError),
    "two at least": ([[0.0, 0.0]], [[0, 1, 2, 3]], ShapeError),
}


@pytest.mark.parametrize("message", BAD)
def test_layouts_that_cannot_be_are_refused(message: str) -> None:
    places, quadrupoles, error = BAD[message]
    wanted = "outside the section" if message == "above the surface" else message
    with pytest.raises(error, match=wanted):
        Resistivity(section(), torch.tensor(places, dtype=torch.float64), torch.tensor(quadrupoles))


def test_a_model_below_zero_is_refused() -> None:
    operator = Resistivity.example()
    m = torch.ones(operator.domain.shape, dtype=torch.float64)
    m[1, 2] = -3.0
    with pytest.raises(DataError, match=r"resistivity -3 ohm m at .* not positive"):
        operator(m)


def test_grids_and_options_that_cannot_be_are_refused() -> None:
    layout_ = torch.tensor([[0, 3, 1, 2]])
    for space in (
        Space("resistivity", {"x": [1.0, 2.0], "z": [1.0, 2.0]}, "ohm m"),
        Space("resistivity", {"z": [-1.0, 2.0], "x": [1.0, 20.0]}, "ohm m"),
    ):
        with pytest.raises(ShapeError):
            Resistivity(space, torch.tensor(E), layout_)
    with pytest.raises(OptionError, match="refinement=0"):
        Resistivity(section(), torch.tensor(E), layout_, refinement=0)
    with pytest.raises(PosterioriError, match="cannot turn"):
        Resistivity(Space("v", {"z": [1.0, 2.0], "x": [-5.0, 20.0]}, "m/s"), torch.tensor(E), layout_)


def test_the_kept_jacobian_is_that_of_the_model_asked_about() -> None:
    """Another thread may put its own model's in place between the look at the key and the use of the value."""
    operator = Resistivity.example()
    mine = torch.full(operator.domain.shape, 10.0, dtype=torch.float64)
    mine[1] = 40.0
    wanted = operator.sensitivity(mine)
    kept, theirs = operator._latest, (b"another", 7 * operator._latest[1])

    class Interrupted(tuple[bytes, NDArray[np.float64]]):
        def __getitem__(self, i: int) -> object:  # type: ignore[override]
            operator._latest = theirs
            return kept[i]

    operator._latest = Interrupted(kept)
    torch.testing.assert_close(operator.sensitivity(mine), wanted, rtol=0, atol=0)


def test_what_is_done_to_a_sensitivity_does_not_reach_the_kept_one() -> None:
    operator = Resistivity.example()
    m = torch.full(operator.domain.shape, 10.0, dtype=torch.float64)
    whole = operator.sensitivity(m)
    wanted = whole.clone()
    whole.zero_()
    torch.testing.assert_close(operator.sensitivity(m), wanted)
