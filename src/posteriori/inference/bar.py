"""Bennett's acceptance ratio: the free-energy difference of two states from rows of both."""

from __future__ import annotations

import torch
from torch import Tensor

from posteriori.inference.free_energy import FreeEnergies
from posteriori.inference.mbar import LEAST_SHARED, mbar


def bar(
    forward: Tensor,
    reverse: Tensor,
    chains: tuple[int, int] = (1, 1),
    *,
    correlated: bool = True,
    least_shared: float = LEAST_SHARED,
) -> FreeEnergies:
    """f of two states, the first zero, by the estimate of least variance.

    Args:
        forward: u₁ - u₀ [kT] of rows of state 0.
        reverse: u₁ - u₀ [kT] of rows of state 1; the same difference, not its opposite.
        chains: equal chains of the rows of each state.
        correlated: read the correlation of each chain off its rows.
        least_shared: effective independent rows that both have to share.

    Raises:
        DataError: NaN or -inf among the energies.
        UnanswerableError: the states overlap too little.

    Reference: Bennett (1976), Efficient estimation of free energy differences from Monte Carlo data, J. Comput. Phys.
    22, 245.
    """
    gap = torch.cat([forward.flatten(), reverse.flatten()]).double()
    states = mbar(
        torch.stack([torch.zeros_like(gap), gap]),
        (forward.numel(), reverse.numel()),
        chains,
        correlated=correlated,
        least_shared=least_shared,
    )
    return states.free_energies
