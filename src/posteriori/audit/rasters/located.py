"""What a field has where: amplitudes of leading patterns and covariances with maps, so that a flipped field is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from posteriori.audit.rasters.cells import flat_cells
from posteriori.core.errors import DataError, ShapeError


@dataclass(frozen=True)
class Located:
    """Features (n, feature) of fields (n, y, x) that know the places: fitted to a reference, applied to any.

    The amplitudes of the reference's leading empirical orthogonal functions, less its mean field and in its standard
    deviations; the logarithm of what lies outside them; and the area-weighted covariance with each map (elevation,
    distance to the coast, climatology, row, column), standardised.
    """

    names: tuple[str, ...]
    mean: Tensor
    patterns: Tensor
    maps: Tensor
    share: Tensor
    mask: Tensor | None

    @staticmethod
    def of(
        reference: Tensor,
        maps: Mapping[str, Tensor],
        modes: int = 6,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Located:
        """Fitted to ``reference`` (n, y, x); ``maps`` are (y, x); row, column and climatology are added.

        Raises:
            DataError: fewer fields than twice the modes.
            ShapeError: a map of another shape.
        """
        if len(reference) < 2 * modes:
            raise DataError(
                f"{len(reference)} fields cannot give {modes} patterns; take at most {len(reference) // 2}."
            )
        cells, share = flat_cells(reference.to(torch.float64), mask, weights)
        mean = cells.mean(0)
        _, size, patterns = torch.linalg.svd((cells - mean) * share.sqrt(), full_matrices=False)
        scale = size[:modes] / len(cells) ** 0.5
        if (scale <= 1e-9 * scale[0]).any() or scale[0] == 0:
            raise DataError(f"the reference varies in fewer than {modes} ways; take fewer modes.")
        rows, columns = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in reference.shape[1:])
        every = {
            "climatology": reference.to(torch.float64).nanmean(0),
            "row": rows[:, None].expand(reference.shape[1:]),
            "column": columns.expand(reference.shape[1:]),
            **maps,
        }
        for name, values in every.items():
            if values.shape != reference.shape[1:]:
                raise ShapeError(
                    f"map {name!r} {tuple(values.shape)} is not of the fields' {tuple(reference.shape[1:])}."
                )
        flat, _ = flat_cells(torch.stack([values.to(torch.float64) for values in every.values()]), mask, weights)
        flat = flat - (flat * share).sum(1, keepdim=True)
        spread = (flat.square() * share).sum(1, keepdim=True).sqrt()
        varied = (spread > 0)[:, 0]
        names = [f"pattern {i + 1}" for i in range(modes)] + ["outside the patterns"]
        names += [f"with {name}" for name, kept in zip(every, varied.tolist(), strict=True) if kept]
        return Located(
            tuple(names), mean, patterns[:modes] / scale[:, None], flat[varied] / spread[varied], share, mask
        )

    def __call__(self, fields: Tensor) -> Tensor:
        """Features of fields (n, y, x) on the grid of the reference."""
        cells, _ = flat_cells(fields.to(torch.float64), self.mask)
        if cells.shape[1:] != self.mean.shape:
            raise ShapeError(f"fields {tuple(fields.shape)} are not on the grid that these features were fitted to.")
        anomaly = (cells - self.mean) * self.share.sqrt()
        amplitudes = anomaly @ self.patterns.mT
        inside = (amplitudes / self.patterns.square().sum(1)) @ self.patterns
        outside = (anomaly - inside).square().sum(1, keepdim=True).clamp(min=1e-300).log() / 2
        return torch.cat([amplitudes, outside, (cells * self.share) @ self.maps.mT], 1)
