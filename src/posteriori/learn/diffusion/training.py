"""Training a denoiser on fields that may have gaps: the weighted noise loss, and the one training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

import torch
from torch import Tensor, nn

from posteriori.core.errors import DataError, OptionError, ShapeError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.learn.diffusion.denoiser import Preconditioned, coefficients
from posteriori.learn.fit import fit
from posteriori.learn.loop import Fitted
from posteriori.learn.plan import Batch, Plan


@dataclass(frozen=True, eq=False)
class Fields:
    """What a denoiser learns from, one field a row.

    Args:
        values: (n, channel, y, x), scaled to about unit size; NaN where nothing is known.
        weight: of each cell in the loss, (n, 1 or channel, y, x) or less that broadcasts: cell areas, hidden land;
            unknown cells never count.
        condition: channels beside the field, (n, k, y, x); 0 with a mask channel beside where something is missing.
        vector: numbers that belong to the whole field, (n, v).

    Raises:
        ShapeError: parts that do not fit.
        DataError: infinite values, a condition that is not finite, a field without one known cell, or weights that are
            negative or not finite.
    """

    values: Tensor
    weight: Tensor | None = None
    condition: Tensor | None = None
    vector: Tensor | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 4:
            raise ShapeError(f"fields are (n, channel, y, x); {tuple(self.values.shape)} was given.")
        if bool(torch.isinf(self.values).any()):
            raise DataError(f"{int(torch.isinf(self.values).sum())} values are infinite; mark gaps by NaN.")
        n, grid = len(self.values), self.values.shape[-2:]
        for name, part, rest in (("condition", self.condition, grid), ("vector", self.vector, ())):
            if part is None:
                continue
            if part.ndim != 2 + len(rest) or len(part) != n or part.shape[2:] != rest:
                raise ShapeError(f"the {name} {tuple(part.shape)} must be {(n, 'k', *rest)}, one of each field.")
            if not bool(torch.isfinite(part).all()):
                raise DataError(f"the {name} has values that are not finite; give 0, and a channel that says where.")

    def rows(self) -> Batch:
        """(values, weight, condition, vector), gaps as 0 with weight 0, parts that are not given without channels."""
        n, grid = len(self.values), self.values.shape[-2:]
        known = torch.isfinite(self.values)
        given = torch.ones(()) if self.weight is None else self.weight
        if not bool(torch.isfinite(given).all()) or bool((given < 0).any()):
            raise DataError("weights of cells must be finite and not negative.")
        weight = (known * given).float()
        empty = weight.flatten(1).sum(1) == 0
        if bool(empty.any()):
            raise DataError(f"field {int(empty.nonzero()[0])} has no known cell that counts; drop it.")
        beside = self.values.new_zeros(n, 0, *grid) if self.condition is None else self.condition
        numbers = self.values.new_zeros(n, 0) if self.vector is None else self.vector
        return self.values.nan_to_num(0.0).float(), weight, beside.float(), numbers.float()


@dataclass(frozen=True)
class LogNormal:
    """Noise levels of training: ln σ ~ N(mean, spread²).

    Reference: Karras, Aittala, Aila & Laine (2022), table 1.
    """

    mean: float = -1.2
    spread: float = 1.2

    def __call__(self, share: Tensor) -> Tensor:
        """σ at the ``share`` in (0, 1) of the law."""
        return (self.mean + self.spread * sqrt(2) * torch.erfinv(2 * share - 1)).exp()


@dataclass(frozen=True)
class LogUniform:
    """Noise levels of training: ln σ even between ``low`` and ``high``; for smooth fields, whose patterns differ in
    variance by powers of ten, with ``high`` = :func:`posteriori.learn.diffusion.schedule.reach`.
    """

    low: float = 0.01
    high: float = 80.0

    def __call__(self, share: Tensor) -> Tensor:
        """σ at the ``share`` in (0, 1) of the law."""
        return self.low * (self.high / self.low) ** share


@dataclass(frozen=True)
class HiddenCells:
    """Cells kept independently, with a share that is uniform on [low, high], another one for each mask.

    Raises:
        OptionError: shares that are not in order in [0, 1].
    """

    low: float = 0.5
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise OptionError(f"low={self.low}, high={self.high}: shares of kept cells need 0 <= low <= high <= 1.")

    def __call__(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """True where kept, (n, y, x)."""
        share = self.low + (self.high - self.low) * rng.child("share").uniform((shape[0], 1, 1))
        return rng.child("cells").uniform(shape) < share


@dataclass(frozen=True)
class NoiseLoss:
    """Σ w λ(σ) (D(x₀ + σ ε) - x₀)² / Σ w of each field, λ = 1/c_out²: the net's own error, of unit size at every σ.

    A denoiser made with ``gappy=True`` sees the known cells without those that ``hide`` takes away, and is scored on
    **all** known ones: from fields that never were whole it so learns what whole ones are like, as long as each pair of
    cells is known together in some of them.

    In evaluation the levels and the noise are the same each time, so that two epochs can be compared.

    Args:
        levels: of training; the share of its law is stratified over a batch.
        hide: (n, y, x) and a stream → cells kept; only where the denoiser is gappy.

    Reference: Karras et al. (2022); Daras et al. (2023), Ambient diffusion: learning clean distributions from corrupted
    data, NeurIPS.
    """

    levels: LogNormal | LogUniform = field(default_factory=LogNormal)
    hide: Callable[[tuple[int, ...], Rng], Tensor] = field(default_factory=HiddenCells)

    def __call__(self, net: nn.Module, *rows: Tensor) -> Tensor:
        """(b,), of rows as :meth:`Fields.rows` gives them."""
        assert isinstance(net, Preconditioned)
        x0, weight, condition, vector = rows
        n = len(x0)
        rng = Rng(int(torch.randint(2**62, ()))) if net.training else Rng(0).child("validation")
        even = (torch.arange(n) + rng.child("share").uniform((n,))) / n
        sigma = self.levels(even.clamp(1e-4, 1 - 1e-4).to(x0)).reshape(n, 1, 1, 1)
        noise = torch.randn_like(x0) if net.training else rng.normal(x0.shape, x0)
        seen = None
        if net.gappy:
            kept = self.hide((n, *x0.shape[2:]), rng.child("hide")).to(x0.device)
            seen = ((weight > 0).all(1) & kept)[:, None].to(x0)
        found = net(
            x0 + sigma * noise,
            sigma,
            condition if condition.shape[1] else None,
            vector if vector.shape[1] else None,
            seen,
        )
        _, out, _ = coefficients(sigma, net.sigma_data, seen)
        error = ((found - x0) / out).square() * weight
        return error.flatten(1).sum(1) / weight.expand_as(error).flatten(1).sum(1)


def train(
    denoiser: Preconditioned,
    fields: Fields,
    plan: Plan,
    context: Context,
    validation: Fields | None = None,
    loss: NoiseLoss | None = None,
) -> Fitted:
    """A trained copy of ``denoiser`` (``.net`` of the result) by :func:`posteriori.learn.fit.fit`.

    Give the plan ``average=0.999`` and on the CPU ``precision=Precision.BFLOAT16``; ``plan.augment`` changes rows
    (values, weight, condition, vector), e.g. to hide cells or to drop conditions.

    Raises:
        OptionError: fewer fields than two.
        PosterioriError: as ``fit`` and :class:`Fields`.
    """
    if len(fields.values) < 2:
        raise OptionError(f"{len(fields.values)} field is not enough to learn from.")
    held = None if validation is None else validation.rows()
    return fit(denoiser, loss or NoiseLoss(), fields.rows(), plan, context, held)
