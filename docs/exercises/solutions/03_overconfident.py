"""A method whose errors are 30 % too small, and the calibration that catches it."""

from __future__ import annotations

from dataclasses import dataclass

import posteriori as po
from posteriori.audit.sbc import sbc
from posteriori.core.run import Context
from posteriori.core.target import Target
from posteriori.inference.conformal import Conformal
from posteriori.inference.exact import Exact
from posteriori.inference.problems import regression
from posteriori.inference.spreading import spread_by


@dataclass(frozen=True)
class Overconfident:
    """The exact posterior with every deviation from its mean multiplied by ``factor``."""

    factor: float = 0.7

    def __call__(self, target: Target, context: Context) -> po.Posterior:
        return spread_by(Exact()(target, context), self.factor)


target = regression()
honest, bold = (sbc(method, target, problems=512, rng=po.Rng(1)) for method in (Exact(), Overconfident()))
print(f"exact: p = {honest.p_value:.2g}; over-confident: p = {bold.p_value:.1g}, worst at {bold.worst}")

# The ranks do not only say that it is wrong, but how: the spread of z is one over the factor where the data speak.
print(f"spread of z: exact {honest.tests['mean'].spread_z:.2f}, over-confident {bold.tests['mean'].spread_z:.2f}")

# The repair learns the factor back.
repaired = Conformal(Overconfident()).fit(target.simulate, problems=2000)
print(f"factor that repairs it = {repaired.factor:.2f}")
