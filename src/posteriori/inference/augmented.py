"""A target beside auxiliary copies of its unknown, for flows that need both."""

from __future__ import annotations

from math import log, pi

from torch import Tensor

from posteriori.core.errors import OptionError
from posteriori.core.space import Space
from posteriori.core.target import Target


class Augmented(Target):
    """exp(-energy(x)) · N(a; x, width²) over rows (2, *shape) of x and a: its marginal over a is the inner target.

    Evidence and every expectation of x are those of the inner target, so that weights of a joint proposal are exact.

    Args:
        inner: the target of x, on a Space whose support is real.
        width: standard deviation of a around x, in the unit of x.
    """

    def __init__(self, inner: Target, width: float = 1.0) -> None:
        super().__init__()
        if not width > 0:
            raise OptionError(f"width={width:g} is a standard deviation and must be positive.")
        self.inner, self.width = inner, width
        labels = {dim: inner.space.labels(dim) for dim in inner.space.dims}
        self.space = Space(inner.space.name, {"copy": ["position", "auxiliary"], **labels}, inner.space.unit)

    def energy(self, x: Tensor) -> Tensor:
        """The inner energy of x and -log N(a; x, width²), float64 (*batch,)."""
        rows = self.space.check(x, "rows")
        own, other = rows.unbind(rows.ndim - len(self.space.shape))
        white = self.inner.space.flat(other - own).double() / self.width
        constant = self.inner.space.size * (log(self.width) + 0.5 * log(2 * pi))
        return self.inner.energy(own) + 0.5 * white.square().sum(-1) + constant
