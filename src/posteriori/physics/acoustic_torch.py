"""The acoustic operator in plain torch: any device, any order of derivative, and the oracle of the compiled one."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from posteriori.core.operator import TorchOperator
from posteriori.physics.acoustic import Acoustic
from posteriori.physics.acoustic_kernels import Taps
from posteriori.physics.acoustic_mesh import STENCILS
from posteriori.physics.acoustic_ring import Mesh


class AcousticTorch(TorchOperator):
    """What ``acoustic`` computes, step for step, in torch; the backward pass stores every field of every step.

    Memory grows as steps times cells and a step costs some twenty passes over the fields: for GPUs and for checks.
    """

    references: ClassVar[tuple[str, ...]] = Acoustic.references

    def __init__(self, acoustic: Acoustic) -> None:
        super().__init__()
        self.acoustic = acoustic
        self.domain, self.codomain = acoustic.domain, acoustic.codomain
        section, survey = acoustic.section, acoustic.survey
        double = np.dtype(np.float64)
        mesh = section.mesh(double)
        own = slice(mesh.edge - section.width, mesh.edge + section.nx + section.width)

        def columns(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values.reshape(-1, mesh.stride)[:, own].copy())

        def rows(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values.copy())[:, None]

        level = torch.from_numpy(mesh.level)
        kept = {
            "factor": torch.from_numpy(section.factor(double)),
            "p": columns(mesh.p)[level],
            "q": columns(mesh.q)[level],
            "ax": columns(mesh.ax),
            "az": rows(mesh.az),
            "gx": rows(mesh.dz) * columns(mesh.bx) - columns(mesh.ex),
            "gz": rows(mesh.bz) * columns(mesh.dx) - rows(mesh.ez),
            "wavelets": survey.wavelets.double(),
            "edge_z": (torch.arange(section.rows) - section.top).clamp(0, section.nz - 1),
            "edge_x": (torch.arange(section.columns) - section.width).clamp(0, section.nx - 1),
        }
        for name, taps in (
            ("source", section.taps(survey.points.numpy(), double, section.dx / section.dz)),
            ("receiver", section.taps(survey.receivers.expand(survey.size, -1, -1).reshape(-1, 2).numpy(), double)),
        ):
            kept[f"{name}_at"], kept[f"{name}_weight"] = _dense(taps, mesh, own.start, section.columns)
        shape = (survey.size, survey.channels, -1)
        kept["receiver_at"] = kept["receiver_at"].reshape(shape)
        kept["receiver_weight"] = kept["receiver_weight"].reshape(shape)
        kept["source_at"] = kept["source_at"] + section.rows * section.columns * survey.shot[:, None]
        for name, tensor in kept.items():
            self.register_buffer(name, tensor)

    def forward(self, m: Tensor) -> Tensor:
        """Traces (*batch, shot, receiver, time)."""
        section, survey = self.acoustic.section, self.acoustic.survey
        k = {name: b.to(m.dtype) if b.is_floating_point() else b for name, b in self.named_buffers(recurse=False)}
        shape = (m.shape[:-2].numel(), survey.size, section.rows, section.columns)
        models = m.reshape(-1, 1, *self.domain.shape)
        c2 = models[:, :, k["edge_z"]][..., k["edge_x"]].square() * k["factor"]
        u, up, fx, fz = (m.new_zeros(shape) for _ in range(4))
        traces = [self._read(u, k)]
        for n in range(survey.steps - 1):
            fx, phix = _filtered(k["ax"], fx, k["gx"] * (pad(u, (0, 1))[..., 1:] - u))
            fz, phiz = _filtered(k["az"], fz, k["gz"] * (pad(u, (0, 0, 0, 1))[..., 1:, :] - u))
            fired = (k["source_weight"] * k["wavelets"][:, n, None]).flatten()
            force = (
                m.new_zeros(u.shape[1:]).flatten().index_add(0, k["source_at"].flatten(), fired).reshape(u.shape[1:])
            )
            value = self._laplacian(u) + phix - pad(phix, (1, -1)) + phiz - pad(phiz, (0, 0, 1, -1)) + force
            u, up = k["p"] * u - k["q"] * up + c2 * value, u
            traces.append(self._read(u, k))
        return torch.stack(traces, -1).reshape(*m.shape[:-2], *self.codomain.shape)

    def _laplacian(self, u: Tensor) -> Tensor:
        """dx² times the Laplacian, of fields that vanish outside or are odd about a free surface."""
        section = self.acoustic.section
        rows, columns, far = section.rows, section.columns, section.reach
        wide = pad(u, (far, far, far, far))
        if section.surface:
            wide[..., :far, far : far + columns] = -u[..., 1 : far + 1, :].flip(-2)
        ratio = (section.dx / section.dz) ** 2
        weights = STENCILS[section.order]
        total = -2 * (1 + ratio) * sum(weights) * u
        for j, w in enumerate(weights, 1):
            across = [wide[..., far : far + rows, far + s : far + s + columns] for s in (-j, j)]
            down = [wide[..., far + s : far + s + rows, far : far + columns] for s in (-j, j)]
            total = total + w * (across[0] + across[1]) + w * ratio * (down[0] + down[1])
        return total

    def _read(self, u: Tensor, k: dict[str, Tensor]) -> Tensor:
        """(models, shots, receivers) of fields (models, shots, rows, columns)."""
        at, weight = k["receiver_at"], k["receiver_weight"]
        found = u.flatten(-2).gather(-1, at.flatten(1).expand(len(u), -1, -1))
        return (found.reshape(len(u), *at.shape) * weight).sum(-1)

    @staticmethod
    def example() -> AcousticTorch:
        """Beside the compiled example."""
        return AcousticTorch(Acoustic.example())


def _filtered(memory: Tensor, state: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """The new state of the ring's filter, and what it gives."""
    new = memory * state + change
    return new, state + new


def _dense(taps: Taps, mesh: Mesh, first: int, columns: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of every point, (points, most), in fields of ``columns`` without padding."""
    most = int(np.diff(taps.start).max())
    at = np.zeros((len(taps.start) - 1, most), np.int64)
    weight = np.zeros(at.shape)
    for point, (begin, end) in enumerate(pairwise(taps.start)):
        row, column = np.divmod(taps.at[begin:end] - mesh.base, mesh.stride)
        at[point, : end - begin] = row * columns + column - first
        weight[point, : end - begin] = taps.weight[begin:end]
    return torch.from_numpy(at), torch.from_numpy(weight)
