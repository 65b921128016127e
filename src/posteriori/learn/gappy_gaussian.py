"""A Gaussian law of short vectors, learnt from samples that all have gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import nnls
from torch import Tensor

from posteriori.core import memory
from posteriori.core.covariance import cholesky
from posteriori.core.errors import DataError

ROUNDS = 30
CHANGE = 1e-3
PASSING = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Times in which the passing part of the smooth covariance fades, in steps between times."""
BATCH = 1 << 22


@dataclass(frozen=True)
class Patterns:
    """Samples told apart by what is observed of them.

    Attributes:
        observed: the different patterns, bool (pattern, time).
        members: positions of the samples of each pattern.
    """

    observed: Tensor
    members: tuple[Tensor, ...]

    @staticmethod
    def of(observed: Tensor) -> Patterns:
        """Of bool (time, sample)."""
        found, which = torch.unique(observed.mT, dim=0, return_inverse=True)
        order = which.argsort(stable=True)
        sizes = torch.bincount(which, minlength=len(found))
        return Patterns(found, tuple(order.split(sizes.tolist())))

    @property
    def sizes(self) -> Tensor:
        """Number of samples of each pattern."""
        return torch.tensor([len(cells) for cells in self.members])

    def precisions(self, covariance: Tensor) -> Tensor:
        """Inverse covariance of what is observed, zero elsewhere, (pattern, time, time).

        Raises:
            MemoryBudgetError: too many patterns of too many times.
        """
        n, patterns = len(covariance), len(self.observed)
        need = 4 * 8 * patterns * n**2
        memory.require(need, f"{patterns} patterns of gaps in {n} times", "take fewer dates, or cut the stack")
        pieces = []
        for seen in self.observed.split(max(1, BATCH // n**2)):
            both = seen[:, :, None] & seen[:, None, :]
            filled = torch.where(both, covariance, torch.eye(n, dtype=covariance.dtype))
            inverse = torch.cholesky_inverse(cholesky(filled))
            pieces.append(torch.where(both, inverse, 0.0))
        return torch.cat(pieces)

    def applied(self, matrices: Tensor, values: Tensor) -> Tensor:
        """The matrix of each sample's pattern times the sample, (time, sample)."""
        out = torch.empty_like(values)
        for matrix, cells in zip(matrices, self.members, strict=True):
            out[:, cells] = matrix @ values[:, cells]
        return out


@dataclass(frozen=True)
class GappyGaussian:
    """N(mean, covariance) over the times of a series; float64 (time,) and (time, time)."""

    mean: Tensor
    covariance: Tensor

    def predict(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each value given all *other* observed values of its series, (time, sample).

        ``values`` (time, sample), NaN in gaps. At an observed value this is the prediction that leaves it out.
        """
        observed = torch.isfinite(values)
        patterns = Patterns.of(observed)
        anomaly = torch.where(observed, values - self.mean[:, None], 0.0)
        precisions = patterns.precisions(self.covariance)
        pulled = patterns.applied(precisions, anomaly)
        left = precisions.diagonal(dim1=-2, dim2=-1)
        gain = self.covariance @ precisions
        kept = self.covariance.diagonal() - (gain * self.covariance).sum(-1)
        variance = torch.where(patterns.observed, 1 / left.clamp_min(1e-300), kept.clamp_min(0.0))
        spread = torch.empty_like(values)
        own = torch.empty_like(values)
        for i, cells in enumerate(patterns.members):
            spread[:, cells] = variance[i, :, None]
            own[:, cells] = left[i, :, None]
        outside = torch.where(observed, anomaly - pulled / own.clamp_min(1e-300), self.covariance @ pulled)
        return self.mean[:, None] + outside, spread


def fit_gappy_gaussian(values: Tensor, times: Tensor, share: float = 0.03) -> GappyGaussian:
    """The law of series ``values`` (time, sample), NaN in gaps, by expectation-maximisation.

    The covariance is drawn towards a smooth one in time (a constant, exp(-|t - t'| / τ) and white noise, fitted to
    all pairs of times), which has a ``share`` in it, since neighbouring samples tell much the same. Times never
    observed follow from that smooth law given the others.

    Raises:
        DataError: fewer than two times with a value, or no sample with two values.

    Reference: Dempster, Laird & Rubin (1977), JRSS B 39, 1; Schneider (2001), J. Climate 14, 853.
    """
    seen = torch.isfinite(values).any(1)
    if int(seen.sum()) < 2 or not bool((torch.isfinite(values).sum(0) > 1).any()):
        raise DataError(f"{int(seen.sum())} time(s) with values: a law over time needs at least two, in one cell.")
    x = values[seen].double()
    smooth = _smooth(x, times.double(), seen)
    mean, covariance = _start(x, smooth[seen][:, seen])
    prior = smooth[seen][:, seen] * covariance.diagonal().mean()
    observed = torch.isfinite(x)
    patterns = Patterns.of(observed)
    for _ in range(ROUNDS):
        anomaly = torch.where(observed, x - mean[:, None], 0.0)
        precisions = patterns.precisions(covariance)
        filled = covariance @ patterns.applied(precisions, anomaly)
        expected = torch.einsum("g,gij->ij", patterns.sizes.to(x) / x.shape[1], precisions)
        shift = filled.mean(1)
        second = filled @ filled.mT / x.shape[1] + covariance - covariance @ expected @ covariance
        updated = (1 - share) * (second - torch.outer(shift, shift)) + share * prior
        change = float((updated - covariance).norm() / covariance.norm())
        mean, covariance = mean + shift, 0.5 * (updated + updated.mT)
        if change < CHANGE:
            break
    return _extended(mean, covariance, smooth * float(prior.diagonal().mean()), seen, times.double())


def _smooth(x: Tensor, times: Tensor, seen: Tensor) -> Tensor:
    """The smooth correlation (time, time) nearest to the pairwise one of x (time seen, sample).

    A constant, exp(-|t - t'| / τ) and white noise, none of them negative, fitted by least squares over pairs.
    """
    anomaly = x - x.nanmedian(1, keepdim=True).values
    observed = torch.isfinite(x)
    scaled = torch.where(observed, anomaly / anomaly[observed].square().mean().sqrt().clamp_min(1e-300), 0.0)
    shared = observed.to(x) @ observed.to(x).mT
    products = (scaled @ scaled.mT) / shared.clamp_min(1.0)
    weight = shared.sqrt().reshape(-1).numpy()
    apart = (times[seen][:, None] - times[seen]).abs()
    gaps = times.diff()
    step = float(gaps[gaps > 0].median()) if bool((gaps > 0).any()) else 1.0
    best, least = None, float("inf")
    for steps in PASSING:
        parts = _parts(apart, steps * step)
        columns = torch.stack([part.reshape(-1) for part in parts], 1).numpy()
        shares, missed = nnls(columns * weight[:, None], products.reshape(-1).numpy() * weight)
        if missed < least:
            best, least = (torch.from_numpy(shares), steps * step), float(missed)
    assert best is not None
    shares = best[0] + torch.tensor([0.0, 0.01, 0.01], dtype=torch.float64)
    whole = _parts((times[:, None] - times).abs(), best[1])
    return sum(share * part for share, part in zip(shares / shares.sum(), whole, strict=True))


def _parts(apart: Tensor, tau: float) -> tuple[Tensor, Tensor, Tensor]:
    eye = torch.eye(len(apart), dtype=apart.dtype)
    return torch.ones_like(apart), torch.exp(-apart / tau), eye


def _start(x: Tensor, correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Medians, and pairwise covariances drawn to the smooth law where few samples share both times."""
    observed = torch.isfinite(x)
    mean = x.nanmedian(1).values
    anomaly = torch.where(observed, x - mean[:, None], 0.0)
    shared = observed.to(x) @ observed.to(x).mT
    variance = anomaly.square().sum() / observed.sum()
    if not float(variance) > 0:
        raise DataError("every value of a time is the same at all cells: there is no variation to learn from.")
    trust = shared / (shared + 500.0)
    raw = trust * (anomaly @ anomaly.mT) / shared.clamp_min(1.0) + (1 - trust) * variance * correlation
    values, vectors = torch.linalg.eigh(0.5 * (raw + raw.mT))
    return mean, (vectors * values.clamp_min(1e-3 * float(variance))) @ vectors.mT


def _extended(mean: Tensor, covariance: Tensor, smooth: Tensor, seen: Tensor, times: Tensor) -> GappyGaussian:
    """The law over all times, those never seen following the smooth law given the others."""
    if bool(seen.all()):
        return GappyGaussian(mean, covariance)
    known, unknown = seen.nonzero()[:, 0], (~seen).nonzero()[:, 0]
    gain = torch.linalg.solve(smooth[known][:, known], smooth[known][:, unknown]).mT
    level, drift = _between(times[known], mean, times[unknown])
    whole = torch.empty(len(seen), len(seen), dtype=mean.dtype)
    whole[known[:, None], known] = covariance
    whole[unknown[:, None], known] = gain @ covariance
    whole[known[:, None], unknown] = whole[unknown[:, None], known].mT
    fresh = smooth[unknown][:, unknown] - gain @ (smooth[known][:, known] - covariance) @ gain.mT
    whole[unknown[:, None], unknown] = fresh + torch.diag(drift)
    every = torch.empty(len(seen), dtype=mean.dtype)
    every[known], every[unknown] = mean, level
    return GappyGaussian(every, 0.5 * (whole + whole.mT))


def _between(times: Tensor, mean: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Means at ``wanted`` by straight lines in time, and the variance by which such lines miss a known mean."""
    missed = [
        float(mean[i]) - float(_line(_without(times, i), _without(mean, i), times[i : i + 1]))
        for i in range(1, len(times) - 1)
    ]
    variance = torch.tensor(missed, dtype=mean.dtype).square().mean() if missed else torch.zeros((), dtype=mean.dtype)
    return _line(times, mean, wanted), variance.expand(len(wanted))


def _without(values: Tensor, i: int) -> Tensor:
    return torch.cat([values[:i], values[i + 1 :]])


def _line(times: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    right = torch.searchsorted(times, wanted).clamp(1, len(times) - 1)
    left = right - 1
    step = (times[right] - times[left]).clamp_min(1e-12)
    share = ((wanted - times[left]) / step).clamp(0.0, 1.0)
    return values[left] * (1 - share) + values[right] * share


def drawn(law: GappyGaussian, white: Sequence[Tensor] | Tensor) -> Tensor:
    """Series of the law from white series (…, time, sample): mean + L white."""
    noise = white if isinstance(white, Tensor) else torch.stack(list(white))
    return law.mean[:, None] + cholesky(law.covariance) @ noise
