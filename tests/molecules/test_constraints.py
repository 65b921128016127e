"""Constraints are kept, counted rightly, and refused where they make no sense."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.errors import OptionError, ShapeError, UnanswerableError
from posteriori.core.infer import infer
from posteriori.core.operator import TorchOperator
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.core.target import Boltzmann
from posteriori.domains.molecules.constraints import CentreTrap, Free, Scattered, bent, by_area, cases, cosine
from posteriori.domains.molecules.constraints_bad import rejecting
from posteriori.domains.molecules.constraints_checks import (
    areas,
    chart_error,
    marginal,
    water_by_coordinates,
    water_by_projection,
)
from posteriori.domains.molecules.studies.constraints import Study
from posteriori.inference.constrained_hmc import ConstrainedHMC
from posteriori.inference.manifold import Constrained, log_stretch, nearest, rows_of
from posteriori.inference.rigid_target import RigidBoltzmann
from posteriori.physics.fixed_distances import FixedDistances
from posteriori.physics.pair_potential import positions
from posteriori.physics.rigid_body import RigidBodies, rotation
from posteriori.physics.surfaces import Sphere, Torus
from posteriori.physics.water import ANGLE, BOND, WaterCluster, molecule


@pytest.mark.parametrize("name", ["triatomic", "torus_stiff"])
def test_rows_keep_their_constraints_and_can_be_undone(name: str) -> None:
    case = cases()[name]
    method = ConstrainedHMC(draws=10, warmup=30, chains=50, start=Scattered(case.target.space, 1.0))
    found = infer(case.target, method)
    assert isinstance(found, Draws)
    assert float(case.target.residual(found.values).max()) < 1e-10
    assert float(found.stats["residual"].max()) < 1e-10
    assert 0.5 < float(found.stats["accept"].mean()) < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diatomic", "triatomic", "torus_stiff"])
def test_marginals_follow_their_exact_laws(name: str) -> None:
    """Kolmogorov and Smirnov, 40,000 rows, false alarm 1e-4 each."""
    found = marginal(cases()[name], 40_000, Rng(0))
    assert found.p_value > 1e-4
    assert found.residual < 1e-10


def test_area_elements_are_those_of_autograd() -> None:
    assert chart_error(Rng(0), points=10) < 1e-10


def test_areas_of_sphere_and_torus() -> None:
    """Within five standard errors: false alarm 1e-6."""
    for value, error in areas(3000, Rng(0)).values():
        assert abs(value - 1) < 5 * error < 0.1


def test_jacobians_are_those_of_autograd() -> None:
    rng = Rng(0)
    for constraint in (FixedDistances.example(), Sphere.example(), Torus(1.0, 0.4)):
        x = rng.normal((3, *constraint.domain.shape))
        own = constraint.jacobian(x)
        for row, found in zip(x, own, strict=True):
            exact = torch.autograd.functional.jacobian(constraint, row).reshape(found.shape)
            torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)


def test_the_gram_determinant_of_a_triatomic() -> None:
    """√det = √(4 - cos² θ) for equal masses, however the molecule lies."""
    bonds = bent()
    x = nearest(bonds, Rng(0).normal((20, 9))).x.reshape(20, 3, 3)
    wanted = 0.5 * (4 - cosine(x).square()).log()
    torch.testing.assert_close(log_stretch(rows_of(bonds, x)), wanted, rtol=0, atol=1e-10)


def test_stiff_springs_are_what_a_thin_shell_holds() -> None:
    """Points let through within 0.03 follow δ(c) dx and not area; Kolmogorov and Smirnov, false alarm 1e-3."""
    found = rejecting(0.03, 1_000_000, Rng(0))
    known = cases()
    assert kstest(found.values, known["torus_stiff"].below).pvalue > 1e-3
    assert kstest(found.values, known["torus"].below).pvalue < 1e-9


def test_the_law_of_the_cosine_is_a_law() -> None:
    t = np.linspace(-1, 1, 2001)
    density = np.diff(by_area(t)) / np.diff(t)
    middle = (t[1:] + t[:-1]) / 2
    assert by_area(t)[[0, -1]] == pytest.approx([0, 1], abs=1e-12)
    assert density / density[1000] == pytest.approx(np.sqrt(4 - middle**2) / np.sqrt(4 - middle[1000] ** 2), rel=1e-6)


def test_rigid_bodies_keep_every_distance_and_their_volume_element() -> None:
    rng, bodies = Rng(0), RigidBodies(1, molecule(), "nm")
    y = rng.normal((20, 7))
    x = bodies(y)
    wanted = torch.tensor([BOND, BOND, 2 * BOND * np.sin(ANGLE / 2)])
    for row in x:
        torch.testing.assert_close(torch.pdist(row), wanted, rtol=0, atol=1e-14)
    elements = []
    for row in y:
        j = torch.autograd.functional.jacobian(bodies, row).reshape(9, 7)
        q = row[3:] / row[3:].norm()
        along = torch.linalg.svd(q[None], full_matrices=True).Vh[1:]
        tangent = torch.cat([j[:, :3], j[:, 3:] @ along.mT * row[3:].norm()], 1)
        elements.append(0.5 * torch.linalg.slogdet(tangent.mT @ tangent)[1])
    assert float(torch.stack(elements).std()) < 1e-10


def test_quaternions_are_rotations() -> None:
    r = rotation(Rng(0).normal((5, 4)))
    torch.testing.assert_close(r @ r.mT, torch.eye(3, dtype=r.dtype).expand(5, 3, 3), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(5, dtype=r.dtype), rtol=0, atol=1e-14)


def test_water_has_its_dipole_energy() -> None:
    """A pair far apart: the law of two point dipoles, and TIP3P's 2.35 debye."""
    model = WaterCluster(2, trap=1e-12)
    one = molecule()
    dipole = 0.417 * (one[1] + one[2] - 2 * one[0])
    assert float(dipole.norm()) * 48.03 == pytest.approx(2.347, abs=0.005)
    far = 20.0
    x = torch.cat([one, one + torch.tensor([far, 0.0, 0.0])])
    wanted = 138.935458 * float(dipole @ dipole - 3 * dipole[0] ** 2) / far**3
    assert float(model(x)) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_rigid_water_two_ways() -> None:
    """Two molecules by RATTLE and by quaternions: mean energies and distances agree, false alarm 1e-4 each."""
    model, size = WaterCluster(2), (300.0, 40, 40)
    ways = (water_by_projection(model, *size, Rng(0))[0], water_by_coordinates(model, *size, Rng(1)))
    for name in ("energy", "distance", "trap"):
        (a, e), (b, f) = (way.mean(name) for way in ways)
        assert abs(a - b) < 3.9 * (e * e + f * f) ** 0.5
    assert ways[0].residual < 1e-10


def test_refusals_of_constraints() -> None:
    space = positions(3, 3)
    with pytest.raises(OptionError, match="make no triangle"):
        FixedDistances(space, [(0, 1), (1, 2), (0, 2)], [1.0, 1.0, 3.0])
    with pytest.raises(OptionError, match="given twice"):
        FixedDistances(space, [(0, 1), (1, 0)], [1.0, 1.0])
    with pytest.raises(OptionError, match="positive"):
        FixedDistances(space, [(0, 1)], [0.0])
    with pytest.raises(OptionError, match="not two different"):
        FixedDistances(space, [(0, 3)], [1.0])
    with pytest.raises(ShapeError, match="one for each"):
        FixedDistances(space, [(0, 1)], [1.0, 2.0])
    with pytest.raises(ShapeError, match="one place"):
        RigidBodies(1, torch.zeros(2, 3))
    with pytest.raises(OptionError, match="above zero"):
        RigidBoltzmann(WaterCluster(1), RigidBodies(1, molecule()), -1.0)
    with pytest.raises(OptionError, match="0 < small < large"):
        Torus(1.0, 2.0)


class Nowhere(TorchOperator):
    """|x|² + 1, which vanishes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.domain, self.codomain = Sphere().domain, Sphere().codomain

    def forward(self, m: Tensor) -> Tensor:
        return m.square().sum(-1, keepdim=True) + 1


def test_constraints_that_cannot_be_met_are_refused() -> None:
    target = Constrained(Boltzmann(Free(Sphere().domain), 1.0), Nowhere())
    with pytest.raises(UnanswerableError, match="contradict"):
        infer(target, ConstrainedHMC(draws=2, warmup=20, chains=4))
    line = FixedDistances(positions(3, 1), [(0, 1), (1, 2), (0, 2)], [1.0, 1.0, 2.0])
    with pytest.raises(ShapeError, match="leave nothing to move"):
        Constrained(Boltzmann(CentreTrap(line.domain), 1.0), line)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rows": 10}, "rows=10"), ({"temperature": 0.0}, "must be positive"), ({"molecules": 0}, "molecules=0")],
)
def test_the_study_refuses(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Study(**options)(Context())  # type: ignore[arg-type]
