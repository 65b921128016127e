"""A covariance that shrinks as its rows are observed, one at a time or several together."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.core.errors import DataError


class Downdated:
    """A covariance (c, c) of which observed rows are conditioned on, by the columns of its pivoted Cholesky factor."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.first = matrix.diagonal().clone()
        self.variance = self.first.clone()
        self.columns = torch.empty(0, len(matrix), dtype=matrix.dtype)

    def block(self, cells: Tensor) -> Tensor:
        """The covariance (b, b) of ``cells`` given what was observed."""
        seen = self.columns[:, cells]
        return self.matrix[cells[:, None], cells] - seen.mT @ seen

    def take(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Observe ``cells`` (b,): the columns (b, c) that this adds, and the factor L (b, b) of their covariance.

        Raises:
            DataError: nothing is left to observe at one of them.
        """
        factor, info = torch.linalg.cholesky_ex(self.block(cells))
        left = factor.diagonal().square()
        known = (left <= 1e-14 * self.first[cells]) | (info > 0)
        if bool(known.any()):
            raise DataError(
                f"candidate {int(cells[known][0])} is known exactly by now; give its observation a noise, or fewer in "
                "turn."
            )
        rest = self.matrix[cells] - self.columns[:, cells].mT @ self.columns
        columns = torch.linalg.solve_triangular(factor, rest, upper=False)
        self.columns = torch.cat([self.columns, columns])
        self.variance = (self.variance - columns.square().sum(0)).clamp_min(0.0)
        return columns, factor
