"""Direct currents in a two-dimensional Earth: apparent resistivities of any electrode layout on or in a section."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posteriori.core import memory, units
from posteriori.core.errors import DataError, OptionError, ShapeError, UnanswerableError
from posteriori.core.operator import Operator
from posteriori.core.space import Space
from posteriori.core.support import Positive
from posteriori.physics.conduction import Floats
from posteriori.physics.resistivity_mesh import Mesh, cell_borders, shortest_distance, wavenumbers

IMAGES = 4.0
"""Longest distance of the wavenumbers' sum, in lengths of the layout: mirror images in layers lie further away."""
ZERO = 1e-6
"""A geometric factor counts as infinite when the potentials cancel to this share of the largest."""
ROLES = ("a", "b", "m", "n")
ABSENT = -1
"""Index of an electrode that is infinitely far away."""


class Resistivity(Operator):
    """Apparent resistivity [ohm m] of four-electrode measurements over a section of resistivities, (z, x).

    Point currents in an Earth that does not change along strike (2.5-D): for each wavenumber k along strike

        -∇·(σ ∇u) + k² σ u = ½ δ(x - x_A),   V = (2/π) ∫₀^∞ u dk,

    by a compact fourth-order scheme on a lattice finer than the model, with the mixed condition of Dey & Morrison on
    a far border. One Cholesky factor per wavenumber serves all electrodes, forward and adjoint. Each potential between
    two electrodes is multiplied by the exact over the computed one of a homogeneous Earth: that takes out the
    singularity at the electrodes, and a half-space is exact. Reciprocity holds to rounding.

    ``jvp`` and ``vjp`` are exact: ∂V_ij/∂σ_c = -Σ_k w_k (G u_i)ᵀ W_c (G u_j), with G u the drops of potential
    in the cell.

    Args:
        domain: resistivities, dims ("z", "x"), labels the centres of cells [m]; depth from the surface z = 0
            downwards, borders halfway between centres. Beyond the section its outermost cells go on.
        electrodes: (e, 2) rows (z, x) [m], inside the section; z = 0 at the surface.
        quadrupoles: (m, 4) indices of the electrodes A, B (current) and M, N (potential); -1 for one far away.
        refinement: cells of the lattice for the shortest distance between two electrodes.

    The codomain's ``datum`` carries the positions: ``a_x``, ``a_z``, … ``n_z`` [m], infinite where absent.

    Raises:
        ShapeError, DataError: electrodes outside the section or at one place, a quadrupole with equal electrodes or
            without a voltage over a half-space; resistivities that are not finite and positive.

    Reference: Dey & Morrison (1979), Resistivity modelling for arbitrarily shaped two-dimensional structures,
    Geophysical Prospecting 27, 106; Xu, Duan & Zhang (2000), Geophysical Prospecting 48, 789; Lowry, Allen & Shive
    (1989), Singularity removal: a refinement of resistivity modeling techniques, Geophysics 54, 766.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Dey & Morrison (1979), Resistivity modelling for arbitrarily shaped two-dimensional structures, Geophysical "
        "Prospecting 27, 106.",
        "Xu, Duan & Zhang (2000), Selection of the wavenumbers k using an optimization method for the inverse Fourier "
        "transform in 2.5D electrical modelling, Geophysical Prospecting 48, 789.",
    )

    def __init__(self, domain: Space, electrodes: Tensor, quadrupoles: Tensor, refinement: int = 8) -> None:
        super().__init__()
        if refinement < 1:
            raise OptionError(f"refinement={refinement}; give 1 or more cells per electrode spacing.")
        self.domain = domain
        self.per_unit = units.factor(domain.unit, "ohm m")
        self.electrodes = _inside(domain, electrodes)
        self.quadrupoles = _layout(quadrupoles, len(self.electrodes))
        places = {
            f"{role}_{dim}": ("datum", self._places(j)[:, i])
            for j, role in enumerate(ROLES)
            for i, dim in enumerate("zx")
        }
        datum = {"datum": np.arange(len(self.quadrupoles))}
        self.codomain = Space("apparent_resistivity", datum, "ohm m", Positive(), extra=places)
        self.mesh = Mesh.of(domain, self.electrodes, refinement)
        away = _distances(self.electrodes)[0]
        self.k, self.weights = wavenumbers(0.5 * shortest_distance(self.electrodes), IMAGES * float(away.max()))
        exact = half_space(self.electrodes)
        self.correction = exact / self._potentials(np.ones(domain.size))
        np.fill_diagonal(self.correction, 0.0)
        self.pairs = _Pairs(self.quadrupoles, exact, self.correction)
        self._latest: tuple[bytes, Floats] = b"", exact

    def forward(self, m: Tensor) -> Tensor:
        """Apparent resistivities, (*batch, datum)."""
        flat, index = _distinct(self._conductivity(m))
        found = np.array([self.pairs.values(self._potentials(s)) for s in flat]).reshape(-1, self.codomain.size)
        return _tensor(found[index], m).reshape(*m.shape[:-2], self.codomain.size)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m) v; equal models in a row share their factors."""
        return self._derived(m, v, self.domain, self.codomain, transposed=False)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r; equal models in a row share their factors."""
        return self._derived(m, r, self.codomain, self.domain, transposed=True)

    def sensitivity(self, m: Tensor) -> Tensor:
        """J(m) = ∂ρ_a / ∂ρ, (datum, z, x), of one model (z, x)."""
        flat = self._conductivity(m)
        return _tensor(self._jacobian(flat[0]).copy(), m).reshape(*self.codomain.shape, *self.domain.shape)

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer data on the same lattice."""
        other = Resistivity.__new__(Resistivity)
        Operator.__init__(other)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if not k.startswith("_")})
        other.codomain = self.codomain.select(dim, labels)
        other.quadrupoles = self.quadrupoles[self.codomain.index(dim, labels).numpy()]
        other.pairs = _Pairs(other.quadrupoles, half_space(self.electrodes), self.correction)
        other._latest = b"", self.correction
        return other

    def _derived(self, m: Tensor, given: Tensor, start: Space, end: Space, *, transposed: bool) -> Tensor:
        flat, index = _distinct(self._conductivity(m))
        rows = start.flat(given).detach().reshape(-1, start.size).double().numpy()
        out = np.empty((len(rows), end.size))
        for k, s in enumerate(flat):
            here = index == k
            jacobian = self._jacobian(s)
            out[here] = rows[here] @ (jacobian if transposed else jacobian.T)
        return _tensor(out, given).reshape(*given.shape[: given.ndim - len(start.shape)], *end.shape)

    def _potentials(self, s: Floats) -> Floats:
        """Potentials of unit currents, (electrode, electrode), for conductivities (cells,)."""
        return sum((w * u[self.mesh.electrodes] for w, _, u in self._fields(s)), np.zeros(1))

    def _fields(self, s: Floats) -> Iterator[tuple[float, float, Floats]]:
        """Quadrature weight, wavenumber and potentials (nodes, electrode) of unit currents."""
        mesh, e = self.mesh, len(self.electrodes)
        unit = np.zeros((mesh.lattice.nodes, e))
        unit[mesh.electrodes, np.arange(e)] = 1.0
        for k, weight in zip(self.k, self.weights, strict=True):
            far = np.zeros(mesh.lattice.nodes)
            np.add.at(far, mesh.border.node, s[mesh.border.model] * mesh.border.conductance(k))
            factor = mesh.lattice.factor(self._conductance(k) * s[mesh.model], far)
            yield weight / np.pi, k, factor.solve(unit)

    def _conductance(self, k: float) -> Floats:
        return self.mesh.lattice.conduction() + k**2 * self.mesh.lattice.storage()

    def _jacobian(self, s: Floats) -> Floats:
        """∂ρ_a / ∂ρ, (datum, cells), with ρ in the domain's unit; kept, for gradient and curvature share it."""
        latest = self._latest  # read once: another thread may put that of another model there meanwhile
        if latest[0] != s.tobytes():
            latest = self._latest = s.tobytes(), self._differentiated(s)
        return latest[1]

    def _differentiated(self, s: Floats) -> Floats:
        e, mesh = len(self.electrodes), self.mesh
        rows = 4 * mesh.lattice.cells + len(mesh.border.node)
        need = 8 * e * (2 * len(s) * e + 3 * rows)
        memory.require(need, f"sensitivities of {len(s)} cells to {e} electrodes", "take fewer cells or electrodes")
        owner = np.concatenate([np.tile(mesh.model, 4), mesh.border.model])
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(len(s) + 1))
        gram = np.zeros((len(s), e, e))
        for w, k, u in self._fields(s):
            drops = np.concatenate([mesh.lattice.drops(u).reshape(-1, e), u[mesh.border.node]])[order]
            weight = w * np.concatenate([self._conductance(k).ravel(), mesh.border.conductance(k)])[order]
            weighted = drops * weight[:, None]
            for cell, (i, j) in enumerate(pairwise(ends)):
                gram[cell] += weighted[i:j].T @ drops[i:j]
        # dσ = -σ² dρ, and more conduction lowers the potentials by the Gram matrix
        return self.pairs.rows(gram).T * (s**2 * self.per_unit)

    def _conductivity(self, m: Tensor) -> Floats:
        """Checked conductivities of each model, (models, cells) [S/m]."""
        if m.device.type != "cpu":
            raise UnanswerableError(f"{type(self).__name__} computes on the CPU, its input is on {m.device}: move it.")
        rho = self.domain.flat(m).detach().reshape(-1, self.domain.size).double().numpy() * self.per_unit
        bad = ~((rho > 0) & np.isfinite(rho))
        if bad.any():
            where = np.unravel_index(int(np.flatnonzero(bad.any(0))[0]), self.domain.shape)
            cell = {d: float(self.domain.labels(d)[i]) for d, i in zip(self.domain.dims, where, strict=True)}
            raise DataError(
                f"resistivity {rho[bad][0] / self.per_unit:.4g} {self.domain.unit} at {cell} is not positive and "
                "finite: mend the cell, and let a search move log10 of the resistivity (PowerOfTen)."
            )
        return 1.0 / rho

    def _places(self, role: int) -> Floats:
        chosen = self.quadrupoles[:, role]
        return np.where((chosen == ABSENT)[:, None], np.inf, self.electrodes[chosen])

    @staticmethod
    def example() -> Resistivity:
        """Five electrodes, one of them buried, over twelve cells."""
        space = Space("resistivity", {"z": [1.0, 3.0, 7.0], "x": [-6.0, -2.0, 2.0, 6.0]}, "ohm m", Positive())
        electrodes = torch.tensor([[0.0, -6.0], [0.0, -3.0], [0.0, 0.0], [0.0, 3.0], [4.0, 5.0]], dtype=torch.float64)
        quadrupoles = torch.tensor([[0, 3, 1, 2], [0, 1, 2, 3], [4, ABSENT, 0, 2]])
        return Resistivity(space, electrodes, quadrupoles, refinement=2)


class _Pairs:
    """Apparent resistivities as sums over pairs of electrodes: ρ_a = K Σ ± c_ij V_ij."""

    def __init__(self, quadrupoles: NDArray[np.int64], exact: Floats, correction: Floats) -> None:
        self.i = quadrupoles[:, [0, 0, 1, 1]]
        self.j = quadrupoles[:, [2, 3, 2, 3]]
        there = (self.i != ABSENT) & (self.j != ABSENT)
        sign = np.where(there, [1.0, -1.0, -1.0, 1.0], 0.0)
        terms = sign * np.where(there, exact[self.i, self.j], 0.0)
        voltage = terms.sum(1)
        flat = np.abs(voltage) <= ZERO * np.abs(terms).max(1)
        if flat.any():
            datum = int(np.flatnonzero(flat)[0])
            raise DataError(
                f"datum {datum} (A, B, M, N = {quadrupoles[datum].tolist()}) has no voltage over a half-space, its "
                f"geometric factor is infinite ({int(flat.sum())} such data): remove it."
            )
        self.weights = sign * correction[self.i, self.j] / voltage[:, None]

    def values(self, v: Floats) -> Floats:
        """(datum,) of a matrix of potentials (electrode, electrode)."""
        found: Floats = (self.weights * v[self.i, self.j]).sum(1)
        return found

    def rows(self, v: Floats) -> Floats:
        """(cell, datum) of matrices (cell, electrode, electrode)."""
        return sum((self.weights[:, p] * v[:, self.i[:, p], self.j[:, p]] for p in range(4)), np.zeros(1))


def half_space(electrodes: Floats) -> Floats:
    """Potentials [V] at electrodes (e, 2) of 1 A at each, in a half-space of 1 ohm m; infinite at itself."""
    direct, mirrored = _distances(electrodes)
    with np.errstate(divide="ignore"):
        found: Floats = (1 / direct + 1 / mirrored) / (4 * np.pi)
    return found


def _distances(electrodes: Floats) -> tuple[Floats, Floats]:
    """Between all electrodes, and from each to the mirror image of each above the surface."""
    z, x = electrodes[:, 0], electrodes[:, 1]
    across = x[:, None] - x
    return np.hypot(across, z[:, None] - z), np.hypot(across, z[:, None] + z)


def _inside(space: Space, electrodes: Tensor) -> Floats:
    down, across = cell_borders(space)
    given = np.asarray(electrodes.detach().double().numpy())
    if given.ndim != 2 or given.shape[1] != 2 or len(given) < 2:
        raise ShapeError(f"electrodes {given.shape} should be (e, 2), rows (z, x) [m], two at least.")
    for i, (dim, borders) in enumerate((("z", down), ("x", across))):
        out = ~((given[:, i] >= borders[0]) & (given[:, i] <= borders[-1]))
        if out.any():
            e = int(np.flatnonzero(out)[0])
            raise DataError(
                f"electrode {e} lies at {dim} = {given[e, i]:g} m, outside the section {borders[0]:g} to "
                f"{borders[-1]:g} m; check the order (z, x), the unit and that depth counts downwards, or widen it."
            )
    away = _distances(given)[0] + np.eye(len(given))
    close = np.argwhere(away <= 1e-6 * away.max())
    if len(close):
        raise DataError(f"electrodes {close[0].tolist()} are at one place, {given[close[0, 0]].tolist()} (z, x) [m].")
    return given


def _layout(quadrupoles: Tensor, many: int) -> NDArray[np.int64]:
    given = np.asarray(quadrupoles.numpy())
    if given.ndim != 2 or given.shape[1] != 4 or not len(given) or given.dtype.kind not in "iu":
        raise ShapeError(f"quadrupoles {given.dtype} {given.shape} should be whole numbers (m, 4): A, B, M, N.")
    given = given.astype(np.int64)
    for datum, row in enumerate(given):
        near = row[row != ABSENT]
        if ((near < 0) | (near >= many)).any():
            raise DataError(f"datum {datum} names the electrodes {row.tolist()}; there are 0 to {many - 1}, or -1.")
        if len(set(near.tolist())) < len(near) or (row[:2] == ABSENT).all() or (row[2:] == ABSENT).all():
            raise DataError(
                f"datum {datum} has A, B, M, N = {row.tolist()}: no two may be the same, nor a pair absent."
            )
    return given


def _distinct(models: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Models without repetitions in a row, and which of them each given one is."""
    new = np.ones(len(models), bool)
    new[1:] = (models[1:] != models[:-1]).any(1)
    return models[new], np.cumsum(new) - 1


def _tensor(values: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.dtype)
