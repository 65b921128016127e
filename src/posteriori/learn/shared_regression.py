"""What a cell becomes, regressed on its surroundings with coefficients that all cells share."""

from __future__ import annotations

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
        ages: fields of each case, the latest and earlier ones.

    Raises:
        OptionError: a scale that is not positive, or no field.
        ShapeError: statics of another shape.
    """

    mask: Tensor
    statics: Tensor
    scales: tuple[float, ...] = (3.0, 10.0)
    ages: int = 1

    def __post_init__(self) -> None:
        if not all(scale > 0 for scale in self.scales) or self.ages < 1:
            raise OptionError(
                f"scales {self.scales} must be positive numbers of cells, and ages {self.ages} at least 1."
            )
        if self.statics.shape[1:] != self.mask.shape:
            raise ShapeError(f"statics {tuple(self.statics.shape)} do not lie on the grid {tuple(self.mask.shape)}.")

    @property
    def count(self) -> int:
        """Numbers a cell."""
        return self.ages * (2 + 3 * len(self.scales)) * (1 + len(self.statics))

    def __call__(self, fields: Tensor) -> Tensor:
        """(n, age, y, x) → (n, y, x, count), float64.

        Raises:
            ShapeError: another number of fields a case.
        """
        told = []
        for plain in self.plain(fields):
            told += [plain, *(plain * static[..., None] for static in self.statics.double())]
        return torch.cat(told, -1)

    def plain(self, fields: Tensor) -> Tensor:
        """What cells are told of each age, the statics left out, (n, age, y, x) → (age, n, y, x, k).

        Raises:
            ShapeError: another number of fields a case.
        """
        if fields.ndim != 4 or fields.shape[1] != self.ages:
            raise ShapeError(f"{tuple(fields.shape)} is not (n, {self.ages}, y, x): cases of {self.ages} fields.")
        return torch.stack([self._of(fields[:, age]) for age in range(self.ages)])

    def each(self, weights: Tensor) -> Tensor:
        """The coefficients of every cell, (age, y, x, k), that ``weights`` (count,) come to with its statics."""
        plain, *by_static = weights.reshape(self.ages, 1 + len(self.statics), 1, 1, -1).unbind(1)
        found = plain.expand(-1, *self.mask.shape, -1)
        for static, weight in zip(self.statics.double(), by_static, strict=True):
            found = found + static[..., None] * weight
        return found

    def _of(self, fields: Tensor) -> Tensor:
        """Of one age, (n, y, x) → (n, y, x, k)."""
        weight = self.mask.double()
        x = torch.where(self.mask, fields.double(), 0.0)
        seen = [x, (x.sum((-2, -1)) / weight.sum())[:, None, None].expand_as(x)]
        for scale in self.scales:
            smooth = _smoothed(x, scale) / _smoothed(weight, scale).clamp_min(1e-12)
            down, right = torch.gradient(smooth, dim=(-2, -1))
            seen += [smooth, scale * down, scale * right]
        return torch.stack(seen, -1) * weight[..., None]


@dataclass(frozen=True, eq=False)
class Moments:
    """Means that every ridge regression on some cases follows from: XᵀX / n, Xᵀy / n and yᵀy / n."""

    surroundings: Surroundings
    inputs: Tensor
    cross: Tensor
    square: float

    @staticmethod
    def of(surroundings: Surroundings, now: Tensor, then: Tensor) -> Moments:
        """Of cases: what is shown (n, age, y, x), and what came (n, y, x).

        Raises:
            DataError: no cases.
        """
        if not len(now) or len(now) != len(then):
            raise DataError(f"{tuple(now.shape)} and {tuple(then.shape)} are no cases, one at least.")
        k, mask = surroundings.count, surroundings.mask
        inputs, cross = torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
        square = float(then[:, mask].double().square().mean())
        for before, after in zip(now.split(AT_ONCE), then.split(AT_ONCE), strict=True):
            x = surroundings(before)[:, mask].reshape(-1, k)
            inputs += x.mT @ x
            cross += x.mT @ after[:, mask].double().reshape(-1)
        n = len(now) * int(mask.sum())
        return Moments(surroundings, inputs / n, cross / n, square)

    def ridge(self, strength: float) -> SharedRegression:
        """The coefficients that minimise mean (y - Xw)² + strength Σ (s w)², s the sizes of the inputs."""
        size = self.inputs.diagonal().sqrt().clamp_min(1e-12)
        scaled = self.inputs / size / size[:, None]
        scaled.diagonal().add_(strength + 1e-10)
        weights = torch.linalg.solve(scaled, self.cross / size) / size
        variance = self.square - 2 * float(weights @ self.cross) + float(weights @ self.inputs @ weights)
        return SharedRegression(self.surroundings, weights, variance)


@dataclass(frozen=True, eq=False)
class SharedRegression:
    """E[y | x] = Σ w f(x) cell by cell, ``weights`` w (count,) and error ``variance`` in the sample of all cells."""

    surroundings: Surroundings
    weights: Tensor
    variance: float

    def mean(self, fields: Tensor) -> Tensor:
        """What is expected of cases (n, age, y, x), (n, y, x)."""
        each = self.surroundings.each(self.weights)
        plain = self.surroundings.plain
        return torch.cat([torch.einsum("anyxk,ayxk->nyx", plain(part), each) for part in fields.split(AT_ONCE)])


def _smoothed(fields: Tensor, scale: float) -> Tensor:
    """Gaussian weights along both axes; nothing comes from beyond the border."""
    rows, columns = (_kernel(n, scale) for n in fields.shape[-2:])
    return rows @ fields @ columns


def _kernel(n: int, scale: float) -> Tensor:
    position = torch.arange(n, dtype=torch.float64)
    return (-0.5 * ((position[:, None] - position) / scale).square()).exp()
