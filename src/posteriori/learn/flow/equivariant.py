"""A flow of particles that turns and permutes with them, with an exact Jacobian, in an augmented space."""

from __future__ import annotations

from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.algebra import Dense
from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.random import Rng
from posteriori.core.space import Space

RADII = 16
"""Radial functions through which a distance is seen."""
LARGEST = 8.0
"""Bound of the sums of absolute values in the rows of a Laplacian; its exponential is taken to rounding below."""
HALVINGS = 5
DEGREE = 12


class LaplacianCoupling(nn.Module):
    """x → exp(-L(a)) x + s(a): particles x (*batch, n, d) moved by what others a (*batch, n, d) look like.

    L is the Laplacian of a complete graph whose weights w_ij, positive or negative, are a symmetric function of the
    distances in a; s_i = Σ_j (a_i - a_j) g_ij with g of the same kind. Turning or permuting both x and a does the same
    to the result, and a centred x stays centred. The log-determinant on centred positions is exact and costs no
    determinant: -d tr L = -2 d Σ_pairs w_ij.

    Args:
        particles, width: n, and of the hidden layers.
        reach: the distance up to which radial functions are spread.
    """

    def __init__(self, particles: int, width: int, reach: float) -> None:
        super().__init__()
        i, j = torch.triu_indices(particles, particles, 1)
        member = torch.zeros(len(i), particles, dtype=torch.float64)
        member[torch.arange(len(i)), i] = 1.0
        member[torch.arange(len(j)), j] = 1.0
        differ = torch.zeros_like(member)
        differ[torch.arange(len(i)), i] = 1.0
        differ[torch.arange(len(j)), j] = -1.0
        self.register_buffer("member", member, persistent=False)
        self.register_buffer("differ", differ, persistent=False)
        self.register_buffer("centres", torch.linspace(0, reach, RADII, dtype=torch.float64), persistent=False)
        self.member: Tensor
        self.differ: Tensor
        self.centres: Tensor
        self.edge = _net(RADII, width, width)
        self.node = _net(width, width, width)
        self.out = _net(RADII + width, width, 2)
        last = self.out[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()

    def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """The moved x, and the log-determinant (*batch,)."""
        laplacian, shift, log_det = self._parts(a)
        return exponential(-laplacian) @ x + shift, log_det

    def inverse(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """What ``forward`` takes to x, and the log-determinant of this way back."""
        laplacian, shift, log_det = self._parts(a)
        return exponential(laplacian) @ (x - shift), -log_det

    def _parts(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        apart = self.differ @ a
        distance = (apart.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        spacing = self.centres[1]
        seen = torch.exp(-0.5 * ((distance - self.centres) / spacing).square())
        around = self.node(self.member.mT @ self.edge(seen))
        weights = self.out(torch.cat([seen, self.member @ around], -1))
        limit = LARGEST / (2 * a.shape[-2])
        w, g = limit * torch.tanh(weights[..., 0] / limit), weights[..., 1]
        laplacian = self.differ.mT @ (w[..., None] * self.differ)
        return laplacian, self.differ.mT @ (g[..., None] * apart), -2.0 * a.shape[-1] * w.sum(-1)


class EquivariantFlow(nn.Module):
    """Density of positions and of auxiliary copies of them, invariant under rotation, reflection and permutation.

    Rows are (2, mode, axis): coordinates of centred positions x and of as many auxiliary ones a, e.g. those of
    :class:`posteriori.physics.centred.Centred`. From standard normal coordinates, :class:`LaplacianCoupling` moves x by
    a and a by x in turn. ``log_prob`` is the exact **joint** density of x and a; that of x alone is an integral over a.
    Weights are exact in the augmented space: exp(-U(x)) N(a; x, width²) / q(x, a) for a target exp(-U), see
    :class:`posteriori.inference.augmented.Augmented`. Weights are float64 and the symmetries hold to rounding; training
    may run on ``flow.float()``.

    Args:
        centre: a linear isometry from coordinates (mode, axis) to centred positions (particle, axis).
        layers: couplings of x and of a each.
        width: of the nets.
        size: typical spread of a coordinate.
        reach: distance up to which the nets tell distances apart; eight times ``size`` without.

    Raises:
        OptionError: numbers that are not positive.
        ShapeError: ``centre`` is no isometry onto centred positions.

    Reference: Midgley, Stimper, Antorán, Mathieu, Schölkopf & Hernández-Lobato (2023), SE(3) equivariant augmented
    coupling flows, NeurIPS (augmentation; the coupling here is another).
    """

    references: ClassVar[tuple[str, ...]] = (
        "Midgley, Stimper, Antorán, Mathieu, Schölkopf & Hernández-Lobato (2023), SE(3) equivariant augmented coupling "
        "flows, NeurIPS.",
    )

    def __init__(
        self, centre: Operator, layers: int = 6, width: int = 32, size: float = 1.0, reach: float | None = None
    ) -> None:
        super().__init__()
        if min(layers, width) < 1 or not size > 0 or (reach is not None and not reach > 0):
            raise OptionError(
                f"layers={layers}, width={width}, size={size}, reach={reach}: positive numbers are needed."
            )
        mode, axis = centre.domain.dims
        labels = {dim: centre.domain.labels(dim) for dim in (mode, axis)}
        self.space = Space(centre.domain.name, {"copy": ["position", "auxiliary"], **labels}, centre.domain.unit)
        self.register_buffer("basis", _basis(centre))
        self.basis: Tensor
        particles = centre.codomain.shape[0]
        span = 8 * size if reach is None else reach
        self.moves_x = nn.ModuleList([LaplacianCoupling(particles, width, span) for _ in range(layers)])
        self.moves_a = nn.ModuleList([LaplacianCoupling(particles, width, span) for _ in range(layers)])
        self.log_size = nn.Parameter(torch.full((2,), log(size), dtype=torch.float64))

    def push(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal rows (*batch, 2, mode, axis) → rows of the flow and their log density (*batch,)."""
        z = self.space.check(z, "base rows").to(self.basis)
        x, a = (self.basis.mT @ (z * self._sizes())).unbind(-3)
        log_q = self._base(z)
        for move_x, move_a in self._moves():
            x, up = move_x(x, a)
            a, more = move_a(a, x)
            log_q = log_q - up - more
        return self.basis @ torch.stack([x, a], -3), log_q.double()

    def pull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of :meth:`push`: base rows, and the log density of ``x``."""
        x, a = (self.basis.mT @ self.space.check(x, "rows").to(self.basis)).unbind(-3)
        total = torch.zeros(x.shape[:-2], dtype=x.dtype, device=x.device)
        for move_x, move_a in reversed(self._moves()):
            a, up = move_a.inverse(a, x)
            x, more = move_x.inverse(x, a)
            total = total + up + more
        z = self.basis @ torch.stack([x, a], -3) / self._sizes()
        return z, (self._base(z) + total).double()

    def log_prob(self, x: Tensor) -> Tensor:
        """Joint log density of positions and auxiliary ones, (*batch,)."""
        return self.pull(x)[1]

    def draw(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        """``n`` rows and their log density in one pass."""
        return self.push(rng.normal((n, *self.space.shape), self.basis))

    @torch.no_grad()
    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` rows (n, 2, mode, axis)."""
        return self.draw(n, rng)[0]

    def _moves(self) -> list[tuple[LaplacianCoupling, LaplacianCoupling]]:
        pairs = zip(self.moves_x, self.moves_a, strict=True)
        return [(x, a) for x, a in pairs if isinstance(x, LaplacianCoupling) and isinstance(a, LaplacianCoupling)]

    def _sizes(self) -> Tensor:
        return self.log_size.exp()[:, None, None]

    def _base(self, z: Tensor) -> Tensor:
        cells = z.shape[-1] * z.shape[-2]
        return -0.5 * z.square().sum((-3, -2, -1)) - cells * log(2 * pi) - cells * self.log_size.sum()

    @staticmethod
    def example() -> EquivariantFlow:
        """Three particles in the plane."""
        labels = {"axis": ["x", "y"]}
        rows = torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)
        rows = rows / rows.norm(dim=1, keepdim=True)
        matrix = torch.kron(rows.mT.contiguous(), torch.eye(2, dtype=torch.float64))
        centre = Dense(Space("helmert", {"mode": 2, **labels}), Space("position", {"particle": 3, **labels}), matrix)
        with Rng(0).child("equivariant"):
            return EquivariantFlow(centre, layers=2, width=8)


def exponential(m: Tensor) -> Tensor:
    """exp of matrices (*batch, n, n) whose rows sum to at most :data:`LARGEST` in absolute value, to rounding.

    Halved and squared Taylor polynomials: torch's own matrix_exp stops at 1e-11, too early for exact densities.
    """
    small = m / 2**HALVINGS
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    total = eye + small / DEGREE
    for k in range(DEGREE - 1, 0, -1):
        total = eye + small @ total / k
    for _ in range(HALVINGS):
        total = total @ total
    return total


def _net(inputs: int, width: int, outputs: int) -> nn.Sequential:
    layers = [nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)]
    return nn.Sequential(*layers).double()


def _basis(centre: Operator) -> Tensor:
    """Rows of the isometry along one axis, (mode, particle)."""
    modes, axes = centre.domain.shape
    eye = torch.zeros(modes, modes, axes, dtype=torch.float64)
    eye[torch.arange(modes), torch.arange(modes), 0] = 1.0
    rows = centre(eye)[..., 0]
    off = (rows @ rows.mT - torch.eye(modes, dtype=rows.dtype)).abs().max()
    if (
        not centre.linear
        or rows.shape[-1] != modes + 1
        or float(off) > 1e-10
        or float(rows.sum(-1).abs().max()) > 1e-10
    ):
        raise ShapeError(f"{centre} is no isometry from (mode, axis) onto centred positions; use Centred(positions).")
    return rows
