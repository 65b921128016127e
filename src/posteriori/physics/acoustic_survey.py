"""Where a seismic survey shoots and listens, and what may not be asked of a wave solver."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from posteriori.core.errors import DataError, ShapeError
from posteriori.physics.wavelets import highest_frequency


@dataclass(frozen=True, eq=False)
class Survey:
    """Point sources with their wavelets, grouped into shots, and the receivers.

    Args:
        points: (P, 2) sources at depth z and distance x [m].
        shot: (P,) the shot, 0 … S - 1, that each fires in; several sources may share one.
        wavelets: (P, nt) the source function of each at times 0, dt, 2 dt, …
        receivers: (R, 2) depth and distance [m] for every shot, or (S, R, 2) for each its own.

    Raises:
        DataError: an array of another shape, a number that is not finite, or a shot without a source.
    """

    points: Tensor
    shot: Tensor
    wavelets: Tensor
    receivers: Tensor

    def __post_init__(self) -> None:
        points, wavelets, receivers = (torch.as_tensor(t) for t in (self.points, self.wavelets, self.receivers))
        shot = torch.as_tensor(self.shot)
        object.__setattr__(self, "points", points.double())
        object.__setattr__(self, "receivers", receivers.double())
        object.__setattr__(self, "wavelets", wavelets if wavelets.is_floating_point() else wavelets.double())
        object.__setattr__(self, "shot", shot.long())
        sources = len(points)
        if points.shape != (sources, 2) or shot.shape != (sources,) or wavelets.shape[:-1] != (sources,):
            raise ShapeError(
                f"sources {tuple(points.shape)}, shots {tuple(shot.shape)} and wavelets {tuple(wavelets.shape)} "
                "do not agree; give (P, 2) depths and distances, (P,) shots and (P, nt) wavelets."
            )
        shots = int(shot.max()) + 1 if sources else 0
        if not sources or sorted(set(shot.tolist())) != list(range(shots)):
            raise DataError("shots are numbered 0, 1, 2, … and each needs a source.")
        if receivers.ndim not in (2, 3) or receivers.shape[-1] != 2 or receivers.shape[:-2] not in ((), (shots,)):
            raise ShapeError(f"receivers {tuple(receivers.shape)} are neither (R, 2) nor ({shots}, R, 2).")
        for name, values in (("source", points), ("wavelet", wavelets), ("receiver", receivers)):
            bad = (~torch.isfinite(values)).nonzero()
            if len(bad):
                raise DataError(f"{name} {tuple(bad[0].tolist())} is not a finite number; drop or mend it.")

    @staticmethod
    def shots(points: ArrayLike | Tensor, receivers: ArrayLike | Tensor, wavelet: Tensor) -> Survey:
        """One source a shot, all with one ``wavelet`` (nt,)."""
        places = torch.as_tensor(points, dtype=torch.float64)
        return Survey(
            places,
            torch.arange(len(places)),
            wavelet.expand(len(places), -1),
            torch.as_tensor(receivers, dtype=torch.float64),
        )

    @property
    def size(self) -> int:
        """Number of shots."""
        return int(self.shot.max()) + 1

    @property
    def channels(self) -> int:
        """Receivers of a shot."""
        return self.receivers.shape[-2]

    @property
    def steps(self) -> int:
        """Samples of a trace."""
        return self.wavelets.shape[-1]

    def listening(self, shot: int) -> Tensor:
        """Receivers (R, 2) of one shot."""
        return self.receivers if self.receivers.ndim == 2 else self.receivers[shot]

    def firing(self, shot: int) -> Tensor:
        """Positions of the sources of one shot among :attr:`points`."""
        return (self.shot == shot).nonzero()[:, 0]

    def part(self, shots: Tensor) -> Survey:
        """Only ``shots``, renumbered in their order."""
        chosen = [self.firing(int(s)) for s in shots]
        own = torch.cat(chosen)
        number = torch.cat([torch.full_like(c, i) for i, c in enumerate(chosen)])
        receivers = self.receivers if self.receivers.ndim == 2 else self.receivers[shots]
        return Survey(self.points[own], number, self.wavelets[own], receivers)

    def channel(self, receivers: Tensor) -> Survey:
        """Only those ``receivers`` (positions)."""
        return replace(self, receivers=self.receivers.index_select(-2, receivers))

    def check(self, z: np.ndarray, x: np.ndarray, surface: bool) -> None:
        """Refuse sources and receivers outside the nodes ``z``, ``x`` [m], or on a pressure-free surface.

        Raises:
            DataError: naming the first.
        """
        for name, places in (("source", self.points), ("receiver", self.receivers.reshape(-1, 2))):
            for axis, labels in ((0, z), (1, x)):
                values = places[:, axis]
                slack = 1e-6 * abs(float(labels[1] - labels[0]))
                outside = ((values < labels[0] - slack) | (values > labels[-1] + slack)).nonzero()
                if len(outside):
                    where = "zx"[axis]
                    raise DataError(
                        f"{name} {int(outside[0])} at {where} = {float(values[outside[0]]):g} m lies outside the mesh, "
                        f"{where} = {labels[0]:g} … {labels[-1]:g} m; move it or extend the mesh (depth is positive "
                        "downwards)."
                    )
            on_top = (places[:, 0] <= z[0]).nonzero()
            if surface and len(on_top):
                raise DataError(
                    f"{name} {int(on_top[0])} lies on the free surface z = {z[0]:g} m, where the pressure is 0; "
                    "put it below, or take surface=False."
                )

    def highest(self, dt: float) -> float:
        """The highest frequency [Hz] of the sources: where a spectrum falls to 5 % of its largest value."""
        return highest_frequency(self.wavelets, dt)
