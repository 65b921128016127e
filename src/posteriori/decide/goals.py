"""What the next observation is to serve: a smaller total variance, or information."""

from __future__ import annotations

from dataclasses import dataclass

from posteriori.core.operator import Operator


@dataclass(frozen=True)
class TotalVariance:
    """The sum of the variances of ``operator(x)``, that of all cells without one: to fall as far as it can.

    The operator's values need one unit; put a ``Scale`` behind it where they differ or count differently.
    """

    operator: Operator | None = None


@dataclass(frozen=True)
class Information:
    """Mutual information [nat] of the observation with ``operator(x)``, with x itself without one: to grow.

    Reference: Lindley (1956), On a measure of the information provided by an experiment, Ann. Math. Statist. 27, 986.
    """

    operator: Operator | None = None


Goal = TotalVariance | Information
