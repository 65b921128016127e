"""A posterior that is one of several, each with a weight: ensembles and model averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from posteriori.core.covariance import DenseCovariance
from posteriori.core.draws import Draws
from posteriori.core.errors import DataError, UnanswerableError
from posteriori.core.gaussian import Gaussian
from posteriori.core.law_file import Law
from posteriori.core.operator import Operator
from posteriori.core.posterior import DRAWS, Posterior, apply_to_draws, checked_levels, equal_rows
from posteriori.core.prior import Density
from posteriori.core.random import Rng
from posteriori.core.space import Space
from posteriori.core.support import Circular

BISECTIONS = 60


class Mixture(Posterior):
    """Σ_k w_k p_k over one Space; the covariance counts the spread of the means too.

    Args:
        components: posteriors of one Space.
        weights: (k,), or (*problem, k) where each problem has its own; ≥ 0, scaled to sum to one; equal without.
        log_evidence: log ∫ exp(-energy) (*problem,), where it is known.

    Raises:
        DataError: no components, weights of another number, negative, infinite or all zero.
    """

    def __init__(
        self,
        components: Sequence[Posterior],
        weights: Tensor | None = None,
        *,
        log_evidence: Tensor | None = None,
    ) -> None:
        if not components:
            raise DataError("a mixture needs at least one component.")
        first = components[0]
        for other in components[1:]:
            if not other.space.same(first.space):
                raise DataError(f"components speak of {first.space} and of {other.space}; a mixture needs one Space.")
        super().__init__(first.space, first.problems, log_evidence)
        w = torch.ones(len(components)) if weights is None else weights
        problems = w.shape[:-1]
        fits = w.ndim > 0 and w.shape[-1] == len(components) and (not problems or problems == self._batch(first))
        if not fits or not bool((torch.isfinite(w) & (w >= 0)).all()) or not bool((w.sum(-1) > 0).all()):
            raise DataError(
                f"weights {tuple(w.shape)} of {len(components)} components must be numbers ≥ 0 and not all zero, "
                f"one of each component or of each problem and component; {w.tolist()} was given."
            )
        self.components = nn.ModuleList(components)
        self.register_buffer("weights", w.double() / w.double().sum(-1, keepdim=True))
        self.weights: Tensor

    @property
    def parts(self) -> list[Posterior]:
        """The components."""
        return list(self.components)  # type: ignore[arg-type]

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` draws: each component gives its share, in random order."""
        rng = rng.fresh()
        if self.weights.ndim > 1:
            return self._sample_each(n, rng)
        edges = self.weights.cumsum(0).cpu()
        start = rng.uniform(())
        points = (torch.arange(n, dtype=torch.float64) + start) / n
        member = torch.searchsorted(edges, points).clamp_max(len(self.parts) - 1)
        counts = torch.bincount(member, minlength=len(self.parts)).tolist()
        rows = [p.sample(c, rng.child(k)) for k, (p, c) in enumerate(zip(self.parts, counts, strict=True)) if c]
        return torch.cat(rows)[rng.permutation(n)]

    def _sample_each(self, n: int, rng: Rng) -> Tensor:
        """The same where each problem has weights of its own."""
        batch = self.weights.shape[:-1]
        ranks = rng.child("order").uniform((n, *batch)).argsort(0)
        points = (ranks + rng.child("start").uniform(batch)) / n
        edges = self.weights.cumsum(-1).cpu().expand(n, *self.weights.shape).contiguous()
        member = torch.searchsorted(edges, points[..., None]).clamp_max(len(self.parts) - 1)[..., 0]
        member = member.reshape(*member.shape, *(1,) * len(self.space.shape))
        draws = self.parts[0].sample(n, rng.child(0))
        for k, part in enumerate(self.parts[1:], 1):
            draws = torch.where(member.to(draws.device) == k, part.sample(n, rng.child(k)), draws)
        return draws

    def rows(self, n: int, rng: Rng) -> tuple[Tensor, Tensor]:
        return equal_rows(self.sample(n, rng), len(self.problems))

    def center(self) -> Tensor:
        if isinstance(self.space.support, Circular):
            return Draws(self.space, self.sample(20 * DRAWS, self._rng("center"))).center()
        return self._weighted([p.center() for p in self.parts])

    def spread(self) -> Tensor:
        centre = self.center()
        return self._weighted([p.spread().square() + (p.center() - centre).square() for p in self.parts]).sqrt()

    def between(self) -> Tensor:
        """Standard deviation of the components' means: the epistemic part of an ensemble."""
        centre = self.center()
        return self._weighted([(p.center() - centre).square() for p in self.parts]).sqrt()

    def quantile(self, p: Tensor) -> Tensor:
        if not all(isinstance(part, Gaussian) for part in self.parts):
            return Draws(self.space, self.sample(20 * DRAWS, self._rng("quantile"))).quantile(p)
        means, stds = [part.center() for part in self.parts], [part.spread() for part in self.parts]
        goal = checked_levels(p).to(means[0]).reshape(-1, *(1,) * means[0].ndim)
        ends = torch.stack([m + z * s for m, s in zip(means, stds, strict=True) for z in (-12.0, 12.0)])
        low, high = (e.expand(len(p), *e.shape) for e in (ends.amin(0), ends.amax(0)))
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            mass = self._weighted(
                [torch.special.ndtr((middle - m) / s.clamp_min(1e-300)) for m, s in zip(means, stds, strict=True)]
            )
            low, high = torch.where(mass < goal, middle, low), torch.where(mass < goal, high, middle)
        return 0.5 * (low + high)

    def covariance_between(self, cells: Tensor) -> Tensor:
        centre = self.center()
        blocks = []
        for part in self.parts:
            gap = self.space.flat(part.center() - centre)[..., cells]
            blocks.append(part.covariance_between(cells) + gap[..., :, None] * gap[..., None, :])
        return self._weighted(blocks, 2)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density, float64 (*batch,).

        Raises:
            UnanswerableError: a component has no density.
        """
        terms = []
        for w, part in zip(self.weights.unbind(-1), self.parts, strict=True):
            if not isinstance(part, Density):
                raise UnanswerableError(f"a mixture with a {type(part).__name__} has no density.")
            terms.append(w.log() + part.log_prob(x))
        return torch.logsumexp(torch.stack(terms), 0)

    def map(
        self,
        f: Operator | Callable[..., Tensor],
        *,
        space: Space | None = None,
        draws: int = DRAWS,
        rng: Rng | None = None,
    ) -> Posterior:
        """Component by component for a linear Operator; from draws otherwise."""
        rng = rng or self._rng("map")
        if isinstance(f, Operator) and f.linear:
            mapped: Posterior = Mixture([part.map(f, rng=rng) for part in self.parts], self.weights)
        else:
            values, landed = apply_to_draws(self.sample(draws, rng.child("draws")), f, space, rng.child("f"))
            mapped = Draws(landed, values)
        mapped.run = self.run
        return mapped

    def law(self) -> Law:
        tensors = {"weights": self.weights, **self._evidence()}
        return Law("Mixture", self.space, self.problems, tensors, parts=tuple(part.law() for part in self.parts))

    @staticmethod
    def of(law: Law, parts: Sequence[Posterior]) -> Mixture:
        """The mixture whose :meth:`law` was kept, of components made before."""
        mixture = Mixture(parts, law.tensors["weights"])
        mixture.weights = law.tensors["weights"]
        return mixture

    def matched(self) -> Gaussian:
        """The Gaussian with this mixture's mean and full covariance (dense)."""
        every = torch.arange(self.space.size)
        return Gaussian(self.space, self.center(), DenseCovariance(self.covariance_between(every)))

    def _weighted(self, tensors: list[Tensor], dims: int | None = None) -> Tensor:
        """Σ_k w_k of tensors (…, *problem, *own), with ``dims`` own axes; without, those of the Space."""
        dims = len(self.space.shape) if dims is None else dims
        total = torch.zeros_like(tensors[0])
        for w, tensor in zip(self.weights.unbind(-1), tensors, strict=True):
            total = total + w.reshape(*w.shape, *(1,) * dims).to(tensor) * tensor
        return total

    def _batch(self, component: Posterior) -> torch.Size:
        """Sizes of the problem dims."""
        shape = component.center().shape
        return shape[: len(shape) - len(self.space.shape)]
