"""Exactness of constrained sampling: marginals, residuals, area elements, areas, and two ways to one water cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstest
from torch import Tensor

from posteriori.core.draws import Draws
from posteriori.core.infer import infer
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.target import Boltzmann
from posteriori.core.weights import chain_ess
from posteriori.domains.molecules.constraints import Case, Scattered
from posteriori.inference.constrained_hmc import ConstrainedHMC
from posteriori.inference.hmc import HMC
from posteriori.inference.manifold import Constrained, area, chart, frame, rows_of
from posteriori.inference.rigid_target import RigidBoltzmann
from posteriori.physics.rigid_body import RigidBodies
from posteriori.physics.surfaces import Sphere, Torus
from posteriori.physics.water import WaterCluster, molecule

GAS = 8.31446261815324e-3
"""R [kJ mol⁻¹ K⁻¹], CODATA 2018."""
CHAINS = 4000
ROOM = 0.35
"""Distance [nm] of the places where molecules begin."""


@dataclass(frozen=True)
class Marginal:
    """A coordinate sampled under constraints, against its exact law.

    Attributes:
        values: of all rows.
        p_value: Kolmogorov and Smirnov's.
        effective: size of as many independent rows, at most their number.
        residual: largest |constraint| of a row.
        undone: share of transitions that could be undone.
        accepted: share taken.
    """

    values: NDArray[np.float64]
    p_value: float
    effective: float
    residual: float
    undone: float
    accepted: float


def marginal(case: Case, rows: int, rng: Rng) -> Marginal:
    """About ``rows`` rows of a case, 4000 chains thinned until they are nearly independent."""
    draws = max(1, round(rows / CHAINS))
    method = ConstrainedHMC(draws, warmup=40, chains=CHAINS, thin=3, start=Scattered(case.target.space, case.start))
    found = infer(case.target, method, seed=rng.entropy % 2**31)
    assert isinstance(found, Draws)
    values = case.of(found.values)
    effective = float(chain_ess(values.reshape(CHAINS, -1).mT)) if draws > 3 else float(len(values))
    residual = float(case.target.residual(found.values).max())
    return Marginal(
        values.numpy(),
        float(kstest(values.numpy(), case.below).pvalue),
        min(effective, len(values)),
        residual,
        float(found.stats["undone"].mean()),
        float(found.stats["accept"].mean()),
    )


def areas(points: int, rng: Rng) -> dict[str, tuple[float, float]]:
    """Area found / exact of a sphere and a torus from uniform draws of them alone, with the standard error."""
    found = {}
    surfaces: dict[str, Sphere | Torus] = {"sphere": Sphere(), "torus": Torus()}
    for name, surface in surfaces.items():
        here = rng.child(name)
        x, other = _uniform(surface, points, here.child("x")), _uniform(surface, points, here.child("y"))
        turn, radius = 2 * pi * here.uniform((points,)), here.uniform((points,)).sqrt()
        disc = radius[:, None] * torch.stack([turn.cos(), turn.sin()], -1)
        value, error = area(surface, x, other, 0.4, disc)
        found[name] = (value / surface.area, error / surface.area)
    return found


def chart_error(rng: Rng, points: int = 50) -> float:
    """Largest difference of the log area element of a chart from that of autograd through Newton's steps."""
    worst = 0.0
    for surface in (Sphere(), Torus()):
        origin = _uniform(surface, points, rng.child(type(surface).__name__))
        v = 0.15 * rng.normal((points, 2))
        found = chart(surface, origin, v)
        for i in range(points):
            j = torch.autograd.functional.jacobian(partial(_reached, surface, origin[i]), v[i])
            exact = 0.5 * torch.linalg.slogdet(j.mT @ j)[1]
            worst = max(worst, float((exact - found.log_area[i]).abs()))
    return worst


@dataclass(frozen=True)
class Water:
    """Quantities of a water cluster, sampled one way.

    Attributes:
        values: name → (chain, draw).
        residual: largest |constraint| [nm].
    """

    values: dict[str, Tensor]
    residual: float

    def mean(self, name: str) -> tuple[float, float]:
        """Mean and its standard error from the spread of the chains' own means."""
        per_chain = self.values[name].mean(1)
        return float(per_chain.mean()), float(per_chain.std() / len(per_chain) ** 0.5)


def water_by_projection(model: WaterCluster, kelvin: float, draws: int, chains: int, rng: Rng) -> tuple[Water, Draws]:
    """Atoms moved under the constraint forces of RATTLE."""
    bodies, bonds = _bodies(model), model.bonds()
    target = Constrained(Boltzmann(model, 1 / (GAS * kelvin)), bonds)
    start = _Places(model.domain, bodies, _spread(model, kelvin))
    method = ConstrainedHMC(draws, warmup=200, chains=chains, steps=32, start=start)
    found = infer(target, method, seed=rng.entropy % 2**31)
    assert isinstance(found, Draws)
    return _water(model, found.values, chains), found


def water_by_coordinates(model: WaterCluster, kelvin: float, draws: int, chains: int, rng: Rng) -> Water:
    """Centres and quaternions, free of constraints."""
    bodies = _bodies(model)
    target = RigidBoltzmann(model, bodies, 1 / (GAS * kelvin))
    start = _Places(bodies.domain, None, _spread(model, kelvin))
    method = HMC(draws=draws, warmup=300, chains=chains, steps=20, start=start)
    found = infer(target, method, seed=rng.entropy % 2**31)
    assert isinstance(found, Draws)
    with torch.no_grad():
        return _water(model, bodies(found.values), chains)


@dataclass
class _Places:
    """Molecules on a cubic grid whose centre is drawn, turned at random: coordinates, or positions of their atoms."""

    space: Space
    bodies: RigidBodies | None
    spread: float

    def sample(self, n: int, rng: Rng) -> Tensor:
        """(n, *space.shape)."""
        m = self.space.shape[0] // 3 if self.bodies is not None else self.space.size // 7
        side = int(np.ceil(m ** (1 / 3) - 1e-9))
        grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 3)[:m]
        centre = ROOM * (grid - grid.mean(0)) + 0.01 * rng.normal((n, m, 3)) + self.spread * rng.normal((n, 1, 3))
        y = torch.cat([centre.flatten(1), rng.normal((n, 4 * m))], -1)
        if self.bodies is None:
            return y
        with torch.no_grad():
            return self.bodies(y)


def _spread(model: WaterCluster, kelvin: float) -> float:
    """Standard deviation [nm] of the centre of all oxygens in the trap: the slowest of all coordinates starts right."""
    return (GAS * kelvin / (model.molecules * model.trap)) ** 0.5


def _bodies(model: WaterCluster) -> RigidBodies:
    return RigidBodies(model.molecules, molecule(), "nm")


def _water(model: WaterCluster, x: Tensor, chains: int) -> Water:
    oxygen = x[:, ::3]
    dipole = x[:, 1::3] + x[:, 2::3] - 2 * oxygen
    i, j = torch.triu_indices(model.molecules, model.molecules, 1)
    with torch.no_grad():
        values = {"energy": model(x), "trap": oxygen.square().sum((-2, -1))}
        if model.molecules > 1:
            unit = dipole / dipole.norm(dim=-1, keepdim=True)
            values["distance"] = (oxygen[:, i] - oxygen[:, j]).norm(dim=-1).mean(-1)
            values["alignment"] = (unit[:, i] * unit[:, j]).sum(-1).mean(-1)
        residual = float(model.bonds()(x).abs().max())
    return Water({name: v.reshape(chains, -1) for name, v in values.items()}, residual)


def _uniform(surface: Operator, n: int, rng: Rng) -> Tensor:
    """Uniform points of a sphere or torus, by its angles."""
    turn = 2 * pi * rng.uniform((n,))
    if isinstance(surface, Torus):
        wanted = 2 * pi * rng.uniform((n,))
        phi = wanted.clone()
        for _ in range(60):  # Kepler's equation, φ + r/R sin φ = wanted
            phi = wanted - surface.small / surface.large * phi.sin()
        rho = surface.large + surface.small * phi.cos()
        return torch.stack([rho * turn.cos(), rho * turn.sin(), surface.small * phi.sin()], -1)
    x = rng.normal((n, 3))
    return x / x.norm(dim=-1, keepdim=True)


def _reached(surface: Operator, origin: Tensor, v: Tensor) -> Tensor:
    """The chart by a fixed number of Newton steps that autograd sees through."""
    rows = rows_of(surface, origin)
    start = origin + frame(rows) @ v
    shift = torch.zeros(1, dtype=torch.float64)
    for _ in range(12):
        x = start + rows.mT @ shift
        shift = shift - surface(x) / (rows_of(surface, x) @ rows.mT)[:, 0]
    return start + rows.mT @ shift
