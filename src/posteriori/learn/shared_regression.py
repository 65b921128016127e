"""What a cell becomes, regressed on its surroundings with coefficients that all cells share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.core.errors import DataError, OptionError, ShapeError

AT_ONCE = 64
"""Fields whose surroundings are held in memory at once."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Numbers that a cell is told: its own value, smoothed values and slopes at some scales, the field's mean.

    Each is given as it is and times every one of ``statics``, so that coefficients may differ between, say, land and
    sea without a law for each cell. Cells outside the mask count nowhere and get zeros.

    Args:
        mask: defined cells, (y, x).
        statics: (k, y, x), of about unit size.
        scales: standard deviations of the smoothing [cells].

    Raises:
        OptionError: a scale that is not positive.
        ShapeError: statics of another shape.
    """

    mask: Tensor
    statics: Tensor
    scales: tuple[float, ...] = (3.0, 10.0)

    def __post_init__(self) -> None:
        if not all(scale > 0 for scale in self.scales):
            raise OptionError(f"scales {self.scales} must be positive numbers of cells.")
        if self.statics.shape[1:] != self.mask.shape:
            raise ShapeError(f"statics {tuple(self.statics.shape)} do not lie on the grid {tuple(self.mask.shape)}.")

    @property
    def count(self) -> int:
        """Numbers a cell."""
        return (2 + 3 * len(self.scales)) * (1 + len(self.statics))

    def __call__(self, fields: Tensor) -> Tensor:
        """(n, y, x) → (n, y, x, count), float64."""
        weight = self.mask.double()
        x = torch.where(self.mask, fields.double(), 0.0)
        seen = [x, (x.sum((-2, -1)) / weight.sum())[:, None, None].expand_as(x)]
        for scale in self.scales:
            smooth = _smoothed(x, scale) / _smoothed(weight, scale).clamp_min(1e-12)
            down, right = torch.gradient(smooth, dim=(-2, -1))
            seen += [smooth, scale * down, scale * right]
        plain = torch.stack(seen, -1) * weight[..., None]
        return torch.cat([plain, *(plain * static[..., None] for static in self.statics.double())], -1)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums that every ridge regression on some pairs of fields follows from: XᵀX / n and Xᵀy / n."""

    surroundings: Surroundings
    inputs: Tensor
    cross: Tensor

    @staticmethod
    def of(surroundings: Surroundings, now: Tensor, then: Tensor) -> Moments:
        """Of pairs of anomalies, each (n, y, x).

        Raises:
            DataError: no pairs.
        """
        if not len(now) or now.shape != then.shape:
            raise DataError(f"{tuple(now.shape)} and {tuple(then.shape)} are no pairs of fields, one at least.")
        k, mask = surroundings.count, surroundings.mask
        inputs, cross = torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
        for before, after in zip(now.split(AT_ONCE), then.split(AT_ONCE), strict=True):
            x = surroundings(before)[:, mask].reshape(-1, k)
            inputs += x.mT @ x
            cross += x.mT @ after[:, mask].double().reshape(-1)
        n = len(now) * int(mask.sum())
        return Moments(surroundings, inputs / n, cross / n)

    def ridge(self, strength: float) -> SharedRegression:
        """The coefficients that minimise mean (y - Xw)² + strength Σ (s w)², s the sizes of the inputs."""
        size = self.inputs.diagonal().sqrt().clamp_min(1e-12)
        scaled = self.inputs / size / size[:, None]
        scaled.diagonal().add_(strength + 1e-10)
        return SharedRegression(self.surroundings, torch.linalg.solve(scaled, self.cross / size) / size)


@dataclass(frozen=True, eq=False)
class SharedRegression:
    """E[y | x] = Σ w f(x) cell by cell, ``weights`` w (count,) the same for every cell."""

    surroundings: Surroundings
    weights: Tensor

    def mean(self, fields: Tensor) -> Tensor:
        """Anomalies expected of ``fields`` (n, cell), the same shape."""
        whole = fields.reshape(-1, *self.surroundings.mask.shape)
        parts = [self.surroundings(part) @ self.weights for part in whole.split(AT_ONCE)]
        return torch.cat(parts).reshape(fields.shape)


def strengths(per_decade: int = 2, lowest: float = 1e-2, highest: float = 1e2) -> Sequence[float]:
    """Even steps in the logarithm, to choose from."""
    low, high = (torch.log10(torch.tensor(end, dtype=torch.float64)) for end in (lowest, highest))
    return [float(10**e) for e in torch.linspace(float(low), float(high), 1 + round(per_decade * float(high - low)))]


def _smoothed(fields: Tensor, scale: float) -> Tensor:
    """Gaussian weights along both axes; nothing comes from beyond the border."""
    rows, columns = (_kernel(n, scale) for n in fields.shape[-2:])
    return rows @ fields @ columns


def _kernel(n: int, scale: float) -> Tensor:
    position = torch.arange(n, dtype=torch.float64)
    return (-0.5 * ((position[:, None] - position) / scale).square()).exp()
