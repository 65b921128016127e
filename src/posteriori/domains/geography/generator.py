"""Generators of fields: diffusion in a frame where fields have unit size, and the Gaussian law that it must beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import pi
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy import fft
from torch import Tensor

from posteriori.core.errors import DataError, OptionError
from posteriori.core.random import Rng
from posteriori.core.run import Context
from posteriori.domains.geography.generation_base import Base, chosen_base, steps_from
from posteriori.domains.geography.generation_data import Sample
from posteriori.domains.geography.generation_sizes import Sizes, evened, sized
from posteriori.learn.diffusion.denoiser import Preconditioned
from posteriori.learn.diffusion.schedule import karras
from posteriori.learn.diffusion.solvers import Heun, solve
from posteriori.learn.diffusion.training import Fields, LogNormal, NoiseLoss, train
from posteriori.learn.diffusion.unet import UNet
from posteriori.learn.plan import Cosine, Plan

STEPS = 18
BATCH = 16
AT_ONCE = 64
LEVELS = LogNormal(-0.2, 1.2)
"""Noise levels of training: white fields are told from noise at about their own size."""
LOW, HIGH = 0.02, 20.0
"""Noise levels of drawing."""
REPAIR = 2048
"""Draws from which the spectrum of a trained generator is read, and set right."""
SMOOTH = 0.1
"""Width of the smoothing of the spectrum, in the logarithm of the wavenumber."""
TURN = 0.15
"""Width of its smoothing along the direction of waves [rad], where it may depend on it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """x = mean + scale · Dᵀ√S D u: where the Gaussian law of the same spectrum is white noise, u ~ N(0, 1).

    Mean and scale are those of each cell where fields have places, of all cells together where they have none; D is the
    cosine transform and S the mean power of training fields, smoothed along the wavenumber: few numbers, which fit
    held-out fields as well. What diffusion has to learn is the rest.
    """

    mean: Tensor
    scale: Tensor
    root: Tensor

    def repaired(self, fields: Tensor, drawn: Tensor) -> Frame:
        """The frame in which ``drawn`` fields (n, y, x) of this one vary as much as training ``fields`` do.

        A net that has not seen enough draws too much or too little at some scales, or along one axis. Where fields have
        places each cell first gets its mean and spread; then cosines get the power of the training fields, smoothed
        along wavenumber and direction. Power is that of the whole fields, on which variograms rest, and that under a
        Hann window, which spectra see, together: edges leak into the first.
        """
        unit = self.unit(drawn)
        frame = self._of_cells(fields, drawn) if self.mean.ndim else self
        wanted, found = (_averaged(frame._power(part)) for part in (fields, frame.fields(unit)))
        return replace(frame, root=frame.root * (wanted / found).sqrt())

    def _power(self, fields: Tensor) -> Tensor:
        """Mean power (y, x) of the cosines of u, with and without a window."""
        unit = (fields - self.mean) / self.scale
        y, x = (torch.hann_window(n, periodic=False, dtype=unit.dtype) for n in unit.shape[-2:])
        window = y[:, None] * x / (y.square().mean() * x.square().mean()).sqrt()
        both = (unit, window * (unit - unit.mean((1, 2), keepdim=True)))
        return torch.stack([(_cosines(part) / self.root).square().mean(0) for part in both]).sum(0)

    def _of_cells(self, fields: Tensor, drawn: Tensor) -> Frame:
        """With the mean and the spread of each cell set right."""
        wanted, found = fields.std(0), drawn.std(0)
        ratio = torch.where(wanted > 0, wanted / found.clamp(min=1e-12), 1.0)
        return Frame(fields.mean(0) - ratio * (drawn.mean(0) - self.mean), ratio * self.scale, self.root)

    @staticmethod
    def of(sample: Sample) -> Frame:
        """From the training fields alone."""
        fields = sample.dense
        mean, scale = (fields.mean(0), fields.std(0)) if sample.placed else (fields.mean(), fields.std())
        scale = scale.clamp(min=1e-3 * float(scale.max()))
        power = _cosines((fields - mean) / scale).square().mean(0)
        return Frame(mean, scale, _smooth(power).sqrt())

    def unit(self, fields: Tensor) -> Tensor:
        """u of fields (n, y, x), (n, 1, y, x) float32."""
        return _fields(_cosines((fields - self.mean) / self.scale) / self.root).float()[:, None]

    def fields(self, unit: Tensor) -> Tensor:
        """Back again, float64 (n, y, x)."""
        return self.mean + self.scale * _fields(self.root * _cosines(unit[:, 0].double()))


@dataclass(frozen=True, eq=False)
class Generator:
    """A diffusion model of fields: draws follow the law of the training fields.

    Attributes:
        net: the denoiser of u.
        frame: what u is.
        beside: channels (k, y, x) that tell the places, or None.
        losses: denoising loss of held-back training blocks after each epoch, empty without.
        base: the Gaussian law that drawing starts from, where fields have places; elsewhere it is white noise.
        sizes: law of how strong fields are.
    """

    net: Preconditioned
    frame: Frame
    beside: Tensor | None
    losses: Tensor
    sizes: Sizes
    base: Base | None = None

    def draw(self, n: int, shape: tuple[int, int], hour: Tensor | None, rng: Rng) -> Tensor:
        """``n`` fields (n, y, x) [unit of the training fields]; at the hours of the day (n,) where it knows them."""
        logs = self.sizes.draw(n, hour, rng.child("sizes"))
        vector = _told(self.sizes.told(logs), hour)
        noise = rng.normal((n, 1, *shape)).float()
        begin, start = torch.zeros_like(noise), HIGH
        if self.base is not None:
            begin, start = self.base.draw(n, vector, rng.child("base")).reshape(noise.shape).float(), self.base.start
        unit = begin if start <= LOW else self._denoised(noise + begin / start, start, vector)
        return self.frame.fields(sized(evened(unit)[0], logs))

    def _denoised(self, x: Tensor, start: float, vector: Tensor) -> Tensor:
        """u of x = u / start + noise."""
        levels = karras(steps_from(start, LOW, STEPS), LOW, start)
        drawn = []
        for rows in torch.arange(len(x)).split(AT_ONCE):
            denoise = partial(_denoised, self.net, self.beside, vector[rows])
            drawn.append(solve(denoise, x[rows], levels, Heun()))
        return torch.cat(drawn)

    def save(self, path: Path) -> None:
        """Weights and frame as .safetensors."""
        frame = {"frame.mean": self.frame.mean, "frame.scale": self.frame.scale, "frame.root": self.frame.root}
        laws = {**self.sizes.tensors(), **({} if self.base is None else self.base.tensors())}
        save_file({**self.net.state_dict(), **frame, **laws}, path)


def trained(sample: Sample, steps: int, width: int, context: Context) -> Generator:
    """A generator trained for at most ``steps`` steps; the best by the denoising loss of blocks that are held back.

    Every fourth training block is held back to choose when to stop, never the held-out fields of the sample.

    Raises:
        OptionError: no step, or a width that is no multiple of four.
    """
    if steps < 1 or width < 4 or width % 4:
        raise OptionError(f"steps={steps}, width={width}: at least one step, and a width that is a multiple of 4.")
    frame, beside = Frame.of(sample), _places(sample)
    with context.rng.child("net"):
        net = _net(sample, width)
    labels = sample.dense_blocks
    back = torch.isin(labels, torch.unique(labels)[2::4])
    epochs = max(1, round(steps * BATCH / int((~back).sum())))
    plan = Plan(
        epochs=epochs,
        batch=BATCH,
        rate=2e-3,
        schedule=Cosine(0.02),
        average=0.995,
        patience=max(3, epochs // 2),
    )
    sizes = Sizes.of(frame.unit(sample.dense), sample.hour, len(labels.unique()))
    rows = [_rows(sample, frame, sizes, part) for part in (~back, back)]
    found = train(net, rows[0], plan, context.child("fit"), rows[1], NoiseLoss(LEVELS))
    assert isinstance(found.net, Preconditioned)
    net = found.net.eval()
    base = _base(sample, frame, sizes, net, back, context.rng.child("base"))
    first = Generator(net, frame, beside, found.validation, sizes, base)
    hours = None if sample.hour is None else sample.hour[torch.arange(REPAIR) % len(sample.hour)]
    drawn = first.draw(REPAIR, sample.shape, hours, context.rng.child("repair"))
    return replace(first, frame=frame.repaired(sample.dense, drawn))


def loaded(path: Path, sample: Sample, width: int) -> Generator:
    """A generator that ``Generator.save`` wrote.

    Raises:
        DataError: no such file, or weights of another net or of fields of another shape.
    """
    try:
        held = load_file(path)
        frame = Frame(held.pop("frame.mean"), held.pop("frame.scale"), held.pop("frame.root"))
        net = _net(sample, width)
        sizes, base = Sizes.taken(held), Base.taken(held) if sample.placed else None
        net.load_state_dict(held)
    except (OSError, SafetensorError, KeyError, RuntimeError) as problem:
        raise DataError(f"cannot use {path} as weights ({problem}); give weights.safetensors of a run.") from problem
    if frame.root.shape != sample.shape:
        learnt, given = (" x ".join(map(str, shape)) for shape in (frame.root.shape, sample.shape))
        raise DataError(f"the weights of {path} generate fields of {learnt} cells; these have {given}.")
    return Generator(net.eval(), frame, _places(sample), torch.zeros(0), sizes, base)


def eof_gaussian(fields: Tensor, n: int, rng: Rng) -> Tensor:
    """``n`` draws (n, y, x) of the Gaussian law with the mean and the sample covariance of ``fields`` (m, y, x)."""
    mean = fields.mean(0)
    _, size, patterns = torch.linalg.svd((fields - mean).flatten(1), full_matrices=False)
    draws = (rng.normal((n, len(size))) * size / len(fields) ** 0.5) @ patterns
    return mean + draws.reshape(n, *mean.shape)


def _cosines(fields: Tensor) -> Tensor:
    return torch.from_numpy(fft.dctn(fields.numpy(), axes=(-2, -1), norm="ortho"))


def _fields(amplitudes: Tensor) -> Tensor:
    return torch.from_numpy(fft.idctn(amplitudes.numpy(), axes=(-2, -1), norm="ortho"))


def _smooth(power: Tensor) -> Tensor:
    """``power`` (y, x) of the cosines as a function of the wavenumber alone, of the same sum as theirs."""
    wavenumber = _wavenumber(power).reshape(-1)
    at = wavenumber.log()
    near = (-(at[:, None] - at).square() / (2 * SMOOTH**2)).exp()
    flat = power.reshape(-1).clamp(min=1e-12 * float(power.max()))
    smooth = ((near @ flat.log()) / near.sum(1)).exp()
    return (smooth * (flat / smooth).mean()).reshape(power.shape)


def _averaged(power: Tensor) -> Tensor:
    """``power`` (y, x) of the cosines, each the mean of those of about its wavenumber and direction."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=power.dtype) / n for n in power.shape), indexing="ij")
    wavenumber, direction = _wavenumber(power).reshape(-1).log(), torch.atan2(y, x).reshape(-1)
    apart = ((wavenumber[:, None] - wavenumber) / SMOOTH).square() + ((direction[:, None] - direction) / TURN).square()
    near = (-apart / 2).exp()
    return ((near @ power.reshape(-1)) / near.sum(1)).reshape(power.shape)


def _wavenumber(power: Tensor) -> Tensor:
    """Of each cosine [cycles a cell], (y, x); half the lowest other one for the mean."""
    y, x = (torch.arange(n, dtype=power.dtype) / (2 * n) for n in power.shape)
    wavenumber = torch.hypot(y[:, None], x)
    wavenumber[0, 0] = 0.5 * wavenumber[wavenumber > 0].min()
    return wavenumber


def _net(sample: Sample, width: int) -> Preconditioned:
    maps = 0 if not sample.placed else 4 if sample.beside is None else 5
    return Preconditioned(UNet(1, 1, maps, 1 if sample.hour is None else 3, width, (1, 2, 2)))


@torch.no_grad()
def _base(sample: Sample, frame: Frame, sizes: Sizes, net: Preconditioned, back: Tensor, rng: Rng) -> Base | None:
    """Chosen by the blocks that are held ``back`` from the net."""
    if not sample.placed:
        return None
    unit, logs = evened(frame.unit(sample.dense))
    vector = _told(sizes.told(logs), sample.hour)
    told, beside = vector[back], _places(sample)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        parts = zip(x.reshape(-1, 1, *sample.shape).split(AT_ONCE), told.split(AT_ONCE), strict=True)
        return torch.cat([_denoised(net, beside, numbers, part, sigma) for part, numbers in parts]).flatten(1)

    return chosen_base(unit.flatten(1).double(), back, vector, denoise, rng)


def _places(sample: Sample) -> Tensor | None:
    """Row, column, mean field, spread and the condition if there is one, scaled to about one."""
    if not sample.placed:
        return None
    rows, columns = (torch.linspace(-1, 1, n) for n in sample.shape)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    told = [sample.train.mean(0), sample.train.std(0), *([] if sample.beside is None else [sample.beside])]
    maps = [(part - part.mean()) / part.std().clamp(min=1e-9) for part in told]
    return torch.stack([y, x, *(part.float() for part in maps)])


def _rows(sample: Sample, frame: Frame, sizes: Sizes, part: Tensor) -> Fields:
    """What the net learns from, of the training fields in ``part``."""
    unit, logs = evened(frame.unit(sample.dense[part]))
    beside = _places(sample)
    places = None if beside is None else beside.expand(len(unit), -1, -1, -1)
    vector = _told(sizes.told(logs), None if sample.hour is None else sample.hour[part])
    return Fields(unit.masked_fill(~sample.mask, torch.nan), None, places, vector)


def _told(size: Tensor, hour: Tensor | None) -> Tensor:
    """The numbers that go with fields: (n, 1), with the hour of the day (n, 3)."""
    return size if hour is None else torch.cat([size, _clock(hour)], 1)


def _clock(hour: Tensor) -> Tensor:
    turn = 2 * pi / 24 * hour
    return torch.stack([turn.cos(), turn.sin()], 1).float()


def _denoised(net: Preconditioned, beside: Tensor | None, told: Tensor | None, x: Tensor, sigma: Tensor) -> Tensor:
    found: Tensor = net(x, sigma, beside, told)
    return found
