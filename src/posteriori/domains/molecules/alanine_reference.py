"""The surface that generated ones are held against: replicas that exchange, joined by MBAR, their walkers compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from posteriori.core.errors import DataError
from posteriori.domains.molecules.alanine_sampling import Frames
from posteriori.domains.molecules.ramachandran import Ramachandran

TABLES = Path(__file__).parent / "tables"
WEIGHTS = Path(__file__).parent / "weights"
REFERENCE = TABLES / "alanine_vacuum.json"
TRAINED = WEIGHTS / "alanine_vacuum.safetensors"


@dataclass(frozen=True)
class Reference:
    """A surface and how it was made.

    Attributes:
        surface: free energies and their errors.
        force_field: of the molecule.
        temperature: [K].
        frames: that it rests on.
    """

    surface: Ramachandran
    force_field: str
    temperature: float
    frames: int

    def write(self, path: Path) -> None:
        """As JSON; bins that no frame met are null."""
        found = self.surface
        table = {
            "force_field": self.force_field,
            "temperature": self.temperature,
            "frames": self.frames,
            "difference": found.difference,
            "difference_error": found.difference_error,
            "values": [[None if v == torch.inf else round(v, 4) for v in row] for row in found.values.tolist()],
            "errors": [[None if v == torch.inf else round(v, 4) for v in row] for row in found.errors.tolist()],
        }
        path.write_text(json.dumps(table) + "\n")

    @staticmethod
    def read(path: Path) -> Reference:
        """The reference that :meth:`write` kept.

        Raises:
            DataError: the file is missing or something else.
        """
        try:
            table = json.loads(path.read_text())
            grids = [
                torch.tensor([[torch.inf if v is None else v for v in row] for row in table[name]], dtype=torch.float64)
                for name in ("values", "errors")
            ]
            surface = Ramachandran(grids[0], grids[1], table["difference"], table["difference_error"])
            return Reference(surface, table["force_field"], table["temperature"], table["frames"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} holds no reference surface ({error}); build it by scripts/build_alanine.py."
            ) from None


def surface_of(frames: Frames) -> Ramachandran:
    """The surface of the molecule from replicas: weights by MBAR, errors from the spread between walkers."""
    levels, walkers = len(frames.levels), frames.positions.shape[1]
    by_walker = frames.log_weights.reshape(levels, walkers, -1).transpose(0, 1).flatten()
    angles = frames.angles.permute(1, 2, 0, 3).flatten(0, 2)
    return Ramachandran.of(angles, by_walker, walkers)
