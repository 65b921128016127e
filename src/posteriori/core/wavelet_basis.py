"""Orthonormal wavelets on a grid as an operator from values to coefficients."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from posteriori.core.errors import OptionError, ShapeError
from posteriori.core.operator import Operator
from posteriori.core.optional import require
from posteriori.core.space import Space


class Wavelets(Operator):
    """Coefficients of a field in an orthonormal wavelet basis that goes on periodically; ``adjoint`` builds it again.

    The coefficients lie on a grid of the field's shape, the coarsest in the corner of lowest indices.

    Args:
        domain: a grid; every side is a multiple of 2^levels.
        wavelet: an orthogonal one that PyWavelets knows: haar, db2 … db20, sym2 …, coif1 ….
        levels: of halving; as many as the sides allow without, at most 4.

    Raises:
        OptionError: an unknown wavelet, or one that is not orthogonal.
        ShapeError: sides that cannot be halved so often.

    Reference: Mallat (2009), A Wavelet Tour of Signal Processing, Academic Press, chapter 7.
    """

    linear = True
    references: ClassVar[tuple[str, ...]] = (
        "Mallat (2009), A Wavelet Tour of Signal Processing, Academic Press.",
        "Lee et al. (2019), PyWavelets: a Python package for wavelet analysis, JOSS 4, 1237.",
    )

    def __init__(self, domain: Space, wavelet: str = "db2", levels: int | None = None) -> None:
        super().__init__()
        pywt = _pywt()
        if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
            raise OptionError(f"wavelet {wavelet!r} is no orthogonal one; take haar, db2, db4, sym4, coif1 ….")
        possible = min((_halvings(n) for n in domain.shape), default=0)
        self.levels = min(possible, 4) if levels is None else levels
        if not 1 <= self.levels <= possible:
            raise ShapeError(
                f"sides {domain.shape} can be halved {possible} times, not {self.levels}: choose numbers of cells that "
                f"are multiples of {2 ** max(self.levels, 1)}."
            )
        self.domain, self.wavelet = domain, wavelet
        self.codomain = Space(
            f"coefficients of {domain.name}",
            {f"coefficient_{dim}": n for dim, n in zip(domain.dims, domain.shape, strict=True)},
            domain.unit,
        )
        self.axes = tuple(range(-len(domain.shape), 0))
        self.slices: Any = pywt.coeffs_to_array(self._apart(np.zeros(domain.shape)))[1]

    @property
    def level(self) -> Tensor:
        """How coarse each coefficient is: 1 … levels from fine to coarse, levels + 1 for the smooth rest."""
        found = torch.full(self.codomain.shape, float(self.levels + 1))
        for at in range(self.levels):
            inner = tuple(slice(0, n >> at) for n in self.codomain.shape)
            core = tuple(slice(0, n >> (at + 1)) for n in self.codomain.shape)
            kept = found[core].clone()
            found[inner] = at + 1
            found[core] = kept
        return found

    def forward(self, m: Tensor) -> Tensor:
        """The coefficients, (*batch, *shape)."""
        values = m.detach().cpu().numpy()
        array = _pywt().coeffs_to_array(self._apart(values), axes=self.axes)[0]
        return torch.from_numpy(np.ascontiguousarray(array, values.dtype)).to(m.device)

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """The coefficients of ``v``."""
        return self.forward(v)

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """The field with coefficients ``r``: the basis is orthonormal, so that transpose and inverse are one."""
        values = r.detach().cpu().numpy()
        lead = (slice(None),) * (values.ndim - len(self.axes))
        slices = [_led(part, lead) for part in self.slices]
        parts = _pywt().array_to_coeffs(values, slices, "wavedecn")
        field = _pywt().waverecn(parts, self.wavelet, "periodization", self.axes)
        return torch.from_numpy(np.ascontiguousarray(field, values.dtype)).to(r.device)

    def _apart(self, values: Any) -> Any:
        with warnings.catch_warnings():
            # wavelets longer than a coarse side wrap around it, which keeps the basis orthonormal
            warnings.filterwarnings("ignore", "Level value of .* is too high", UserWarning)
            return _pywt().wavedecn(values, self.wavelet, "periodization", self.levels, self.axes)

    @staticmethod
    def example() -> Wavelets:
        """Two levels on a small section."""
        return Wavelets(Space("velocity", {"z": 4, "x": 8}, "m/s"), "db2")


def _pywt() -> Any:
    """PyWavelets; an operator that held the module could be neither copied nor sent to a worker."""
    return require("pywt", "geophysics")


def _led(part: Any, lead: tuple[slice, ...]) -> Any:
    """Slices of coefficients behind the batch."""
    return {key: (*lead, *at) for key, at in part.items()} if isinstance(part, dict) else (*lead, *part)


def _halvings(n: int) -> int:
    return (n & -n).bit_length() - 1
