"""A correlation by how far two places lie apart and how alike they are, learnt from a history of fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.learn.kernels import matern32

FEATURES = 4
LAGS = (1, 12)
"""Layers over which the changes of a cell are compared with those of others."""
MOST_CELLS = 400
"""Cells that the kernel is learnt from; of larger grids these are a random part."""
RATE = 0.08
PULL = 1e-6


class PlaceKernel(nn.Module):
    """k(i, j) = Σ_m s_m M(r_m) + Σ_f c_f φ_f(i) φ_f(j) exp(-d²/2 L_f²) + n δ_ij, scaled to ones on the diagonal.

    r_m² = (Δy/ℓ_y)² + (Δx/ℓ_x + ρ Δy/ℓ_y)² + Σ_f w_f² (φ_f(i) - φ_f(j))² for two scales m, M Matérn of ν = 3/2, and φ
    the character of a cell (:func:`character`): coast and inland, hill and plain differ in it.

    Reference: Paciorek & Schervish (2006), Spatial modelling using a new class of nonstationary covariance functions,
    Environmetrics 17, 483; Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, chapter 5.
    """

    def __init__(self) -> None:
        super().__init__()
        start = torch.tensor([[0.7, 0.7], [3.0, 3.0]], dtype=torch.float64)
        self.log_length = nn.Parameter(start)
        self.log_size = nn.Parameter(torch.tensor([-2.0, 0.0], dtype=torch.float64))
        self.shear = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.log_weight = nn.Parameter(torch.full((2, FEATURES), -2.0, dtype=torch.float64))
        self.log_shared = nn.Parameter(torch.full((FEATURES,), -4.0, dtype=torch.float64))
        self.log_reach = nn.Parameter(torch.full((FEATURES,), 2.0, dtype=torch.float64))
        self.log_nugget = nn.Parameter(torch.tensor(-8.0, dtype=torch.float64))

    def forward(self, at: Tensor, features: Tensor) -> Tensor:
        """(k, k) between cells at rows and columns ``at`` (k, 2) of character ``features`` (k, 4)."""
        dy, dx = (at[:, None, i] - at[:, i] for i in (0, 1))
        near = dy.square() + dx.square()
        total = self.log_nugget.exp() * torch.eye(len(at), dtype=at.dtype)
        for m in range(2):
            length = self.log_length[m].exp()
            y, x = dy / length[0], dx / length[1] + self.shear[m] * dy / length[0]
            unlike = (self.log_weight[m].exp() * features)[:, None] - self.log_weight[m].exp() * features
            r = (y.square() + x.square() + unlike.square().sum(-1) + 1e-12).sqrt()
            total = total + self.log_size[m].exp() * matern32(r)
        for f in range(FEATURES):
            shared = (-0.5 * near / self.log_reach[f].exp() ** 2).exp()
            total = total + self.log_shared[f].exp() * features[:, None, f] * features[:, f] * shared
        return total

    def correlation(self, at: Tensor, features: Tensor) -> Tensor:
        """The kernel scaled to ones on the diagonal, without gradients."""
        with torch.no_grad():
            k = self(at, features)
            std = k.diagonal().sqrt()
            return k / (std[:, None] * std)

    def learn(self, at: Tensor, features: Tensor, correlations: Tensor, steps: int, rng: Rng) -> None:
        """Raise the likelihood of fields with these sample ``correlations`` (k, k) by ``steps`` of Adam, in place."""
        some = rng.permutation(len(at))[:MOST_CELLS]
        at, features, target = at[some], features[some], correlations[some[:, None], some]
        optimiser = torch.optim.Adam(self.parameters(), RATE)
        with torch.enable_grad():
            for _ in range(steps):
                root = torch.linalg.cholesky(self(at, features) + PULL * torch.eye(len(at), dtype=at.dtype))
                fit = 0.5 * torch.cholesky_solve(target, root).diagonal().sum()
                loss = root.diagonal().log().sum() + fit
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    @staticmethod
    def example() -> PlaceKernel:
        """Before any learning."""
        return PlaceKernel()


def character(space: Space, history: Tensor, cells: Tensor) -> Tensor:
    """What kind of place each of the flat ``cells`` (k,) is, as its history tells, (k, 4), each of mean 0 and size 1.

    The mean beyond a quadratic surface, log standard deviation, and log standard deviations of the changes over 1 and
    12 layers. A kind that all cells share, or that cannot be told, is zero.
    """
    x = space.flat(history)[:, cells].double()
    at = positions(space, cells)
    surface = torch.cat([torch.ones(len(at), 1), at, at.square(), at[:, :1] * at[:, 1:]], 1).double()
    mean = x.nanmean(0)
    mean = mean - surface @ torch.linalg.lstsq(surface, mean[:, None]).solution[:, 0]
    kinds = [mean, _size(x).log()]
    for lag in LAGS:
        kinds.append(_size(x[lag:] - x[:-lag]).log() if len(x) > lag + 1 else torch.zeros_like(mean))
    found = torch.stack(kinds, 1)
    found = found - found.mean(0)
    size = found.square().mean(0).sqrt()
    return torch.where(size > 1e-9, found / size.clamp_min(1e-9), 0.0)


def positions(space: Space, cells: Tensor | None = None) -> Tensor:
    """Row and column of flat cells of a grid (y, x), float64 (k, 2); without any, of all."""
    cells = torch.arange(space.size) if cells is None else cells
    return torch.stack([cells // space.shape[1], cells % space.shape[1]], 1).double()


def _size(x: Tensor) -> Tensor:
    """Standard deviation of each column where it is known; that of all where it is not."""
    size = (x - x.nanmean(0)).square().nanmean(0).sqrt()
    usable = torch.isfinite(size) & (size > 0)
    common = size[usable].mean() if bool(usable.any()) else torch.ones((), dtype=x.dtype)
    return torch.where(usable, size, common)
