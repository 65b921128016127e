"""Does any unknown explain the data? A test of what they say where the operator cannot reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import chdtrc
from torch import Tensor

from posteriori.core.errors import OptionError, UnanswerableError
from posteriori.core.target import Target
from posteriori.inference.tikhonov import ByLaw, taken_apart


@dataclass(frozen=True)
class Existence:
    """The outcome of :func:`existence`, one number a problem.

    Attributes:
        statistic: squared misfit of the data beyond the operator's reach, in units of its expected variance.
        degrees: number of combinations of data out of reach.
        p_value: probability of a larger statistic if the operator, the noise (and the prior) are right.
    """

    statistic: Tensor
    degrees: int
    p_value: Tensor

    def doubtful(self, false_alarm: float = 1e-3) -> Tensor:
        """Where the data do not lie in the operator's range within their noise; wrong so often when they do."""
        return self.p_value < false_alarm


def existence(target: Target, reach: float = 0.5) -> Existence:
    """Test whether the data lie in the range of the operator within their noise.

    Along a direction u of whitened data that an unknown drawn from the prior moves by c standard deviations of noise,
    they scatter with variance 1 + c². The statistic is Σ (uᵀd)²/(1 + c²) over all directions with c below ``reach``:
    exactly χ² distributed when operator, noise and prior are right. With a :class:`Penalty` nothing is known about
    the size of the unknown, and only directions orthogonal to the range count.

    Raises:
        OptionError: a reach that is not positive.
        UnanswerableError: not a linear problem with Gaussian noise, or every combination of data can be reached.
    """
    if not reach > 0:
        raise OptionError(f"reach={reach} must be positive: directions moved by less count as out of reach.")
    with torch.no_grad():
        problem = taken_apart(target)
        filters = problem.filters
        if isinstance(problem, ByLaw):
            hidden = filters.signal < reach**2
            variance = 1 + filters.signal[hidden]
            statistic = (filters.seen[:, hidden].square() / variance).sum(-1)
            degrees = int(hidden.sum())
        else:
            statistic = filters.outside
            degrees = filters.count - int((filters.signal > 0).sum())
        if not degrees:
            raise UnanswerableError(
                "every combination of these data can be explained, so that nothing tests the operator: give more data "
                "than unknowns, a proper prior such as Smoothness, or a larger reach."
            )
        p_value = torch.from_numpy(chdtrc(degrees, statistic.cpu().numpy()))
        batch = problem.target.batch
        return Existence(statistic.reshape(batch), degrees, p_value.reshape(batch))
