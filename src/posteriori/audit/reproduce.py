"""Are two runs the same, bit for bit, and if not, what differs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor

from posteriori.audit.report import Figure, Gate, Report
from posteriori.core.posterior import Posterior

Result = Posterior | Tensor | Mapping[str, Tensor] | xr.Dataset | xr.DataArray


def reproducible(run_a: Result, run_b: Result) -> Report:
    """Compare every array of two results bit for bit (shape, dtype and bytes; NaN equals the same NaN).

    Of posteriors also the recorded method, seed, versions and data hashes, not the timings. One figure a difference,
    its value the number of differing cells (1 for a record); ``differences`` counts them, with the gate 0.
    """
    a, b = _arrays(run_a), _arrays(run_b)
    found = [
        *(_missing(name, "second") for name in a if name not in b),
        *(_missing(name, "first") for name in b if name not in a),
        *(figure for name in a if name in b and (figure := _difference(name, a[name], b[name])) is not None),
        *_records(run_a, run_b),
    ]
    note = f"{len(a.keys() & b.keys())} arrays compared bit for bit"
    return Report("reproducibility", (Figure("differences", len(found), gate=Gate(high=0), note=note), *found))


def _arrays(result: Result) -> dict[str, Tensor]:
    if isinstance(result, Posterior):
        evidence = {"log_evidence": result.log_evidence, "log_evidence_error": result.log_evidence_error}
        return {**result.state_dict(), **{name: value for name, value in evidence.items() if value is not None}}
    if isinstance(result, Tensor):
        return {"array": result}
    if isinstance(result, xr.DataArray):
        return _arrays(result.to_dataset(name=result.name or "array"))
    if isinstance(result, xr.Dataset):
        numeric = {str(k): v.values for k, v in result.variables.items() if v.dtype.kind in "biufc"}
        return {name: torch.from_numpy(values.copy()) for name, values in numeric.items()}
    return dict(result)


def _missing(name: str, where: str) -> Figure:
    return Figure(name, 1, note=f"not in the {where} run")


def _difference(name: str, a: Tensor, b: Tensor) -> Figure | None:
    a, b = a.detach().cpu().contiguous(), b.detach().cpu().contiguous()
    if a.dtype != b.dtype or a.shape != b.shape:
        return Figure(name, 1, note=f"{a.dtype} {tuple(a.shape)} against {b.dtype} {tuple(b.shape)}")
    size = a.element_size()
    differs = (_bytes(a, size) != _bytes(b, size)).any(-1)
    count = int(differs.sum())
    if not count:
        return None
    first = int(differs.nonzero()[0])
    gap = (a.reshape(-1).to(torch.complex128) - b.reshape(-1).to(torch.complex128)).abs().nan_to_num(torch.inf)
    where = [int(i) for i in torch.unravel_index(torch.tensor(first), a.shape)] if a.ndim else []
    return Figure(name, count, note=f"first at {where}, largest difference {gap.max().item():.3g}")


def _bytes(x: Tensor, size: int) -> Tensor:
    return x.reshape(-1).view(torch.uint8).reshape(-1, size)


def _records(run_a: Result, run_b: Result) -> list[Figure]:
    """What two posteriors say of how they were made."""
    if not (isinstance(run_a, Posterior) and isinstance(run_b, Posterior)) or run_a.run is None or run_b.run is None:
        return []
    a, b = run_a.run, run_b.run
    pairs = {
        "run.method": (a.method, b.method),
        "run.seed": (a.seed, b.seed),
        "run.device": (a.device, b.device),
        "run.versions": (a.versions, b.versions),
        "run.hashes": (a.hashes, b.hashes),
    }
    return [Figure(name, 1, note=f"{x} against {y}") for name, (x, y) in pairs.items() if x != y]
