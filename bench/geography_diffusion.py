"""A U-Net of this package against diffusers' UNet2DModel of like size: training step and evaluation, in one run.

    python bench/geography_diffusion.py --side 64 --batch 32

Both have three scales of 32, 64 and 128 channels, attention on the coarsest, bfloat16 by autocast and one thread.
Prints CPU seconds and ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from posteriori.learn.diffusion.unet import UNet


class Peer(nn.Module):
    """diffusers' net, called as ours is."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.net = UNet2DModel(
            sample_size=side,
            in_channels=1,
            out_channels=1,
            block_out_channels=(32, 64, 128),
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
            layers_per_block=1,
            attention_head_dim=32,
            norm_num_groups=8,
        )

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.net(x.contiguous(memory_format=torch.channels_last), level).sample


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """CPU seconds of the fastest of ``repeats`` calls after a first."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def timed(net: nn.Module, x: Tensor, level: Tensor) -> tuple[float, float]:
    """Of a training step, and of an evaluation of 16 fields."""
    learns = list(net.parameters())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(x, level).float().square().mean()
        torch.autograd.grad(loss, learns)

    @torch.no_grad()
    def evaluate() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            net(x[:16], level[:16])

    return seconds(step), seconds(evaluate)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--side", type=int, default=64)
    asked.add_argument("--batch", type=int, default=32)
    given = asked.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, level = torch.randn(given.batch, 1, given.side, given.side), torch.rand(given.batch)
    nets = {"posteriori": UNet(), "diffusers": Peer(given.side).to(memory_format=torch.channels_last)}
    found = {name: timed(net, x, level) for name, net in nets.items()}
    print(f"{'':12s} {'parameters':>11s} {'step [CPU s]':>13s} {'16 fields [CPU s]':>18s}")
    for name, net in nets.items():
        step, evaluation = found[name]
        print(f"{name:12s} {sum(p.numel() for p in net.parameters()):11d} {step:13.3f} {evaluation:18.3f}")
    ours, peer = found["posteriori"], found["diffusers"]
    print(f"posteriori / diffusers: step {ours[0] / peer[0]:.2f}, evaluation {ours[1] / peer[1]:.2f}")


if __name__ == "__main__":
    main()
