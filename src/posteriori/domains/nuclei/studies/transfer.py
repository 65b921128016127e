"""Whether a net that first learns a theory predicts new masses better than one that sees measured masses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from posteriori.audit.report import Figure, Report
from posteriori.core.errors import OptionError
from posteriori.core.operator import Selection
from posteriori.core.run import Context
from posteriori.core.space import Space
from posteriori.domains.nuclei import data, law, models
from posteriori.domains.nuclei.challengers import MODEL_ERROR
from posteriori.domains.nuclei.chart import protons_neutrons, whole_chart
from posteriori.domains.nuclei.features import features
from posteriori.domains.study import Outcome
from posteriori.learn.fit import fit
from posteriori.learn.losses import gaussian_nll
from posteriori.learn.network import MLP, Layers, Scaling
from posteriori.learn.plan import Cosine, Plan
from posteriori.learn.transfer import fine_tune

SHAPE = Layers(64, 2)
FIRST = Plan(epochs=40, batch=256, rate=6e-3, schedule=Cosine(0.05), weight_decay=1e-2)
AFTER = Plan(epochs=80, batch=64, rate=4e-3, schedule=Cosine(0.05), weight_decay=1e-2)
DECAY = 0.7
UNIT = 500.0  # [keV] one unit of what the nets give


@dataclass(frozen=True)
class Study:
    """An MLP on the residual of a baseline: from scratch, and after learning the residual of a theory on all the chart.

    The theory's own fit must have seen nothing later than the training evaluation. Both nets have the same shape and
    the same training on measured masses, and each seed begins both at the same weights.
    """

    train: int = 2016
    """Evaluation that everything is learnt from: 1995, 2003, 2012 or 2016."""
    test: int = 2020
    """Later evaluation that the prediction is held against."""
    baseline: str = "dz10"
    """Known physics whose residual is learnt; one baseline's name."""
    theory: str = "dz28"
    """Mass table to learn from first; one baseline's name."""
    seeds: int = 3
    """Nets of each kind."""
    tables: Path | None = None
    """Folder of mass-model tables; without it POSTERIORI_DATA/nuclei, then the masstable package."""

    def __call__(self, context: Context) -> Outcome:
        """Train both kinds for each seed, and score."""
        data.ordered(self.train, self.test)
        for name in (self.baseline, self.theory):
            models.refuse_leak(name, self.train)
        if self.seeds < 1 or self.baseline == self.theory:
            raise OptionError(
                f"seeds={self.seeds}, baseline={self.baseline}, theory={self.theory}: give one seed or more, and a "
                "theory other than the baseline."
            )
        question = law.Question(self.train, (self.baseline,), self.tables)
        later = data.evaluation(self.test).merge(data.new_since(self.train, self.test))
        lesson = _theory(question, self.theory)
        cells = question.target(law.cells_of(question.masses, later), self.baseline).space
        later = later[np.isin(law.names_of(later), cells.labels("nuclide"))]
        rows = []
        for seed in range(self.seeds):
            for kind, taught in (("scratch", None), ("transfer", lesson)):
                mean = _predict(question, cells, taught, context.child("seed", seed))
                at = cells.index("nuclide", law.names_of(later))
                error = mean[at].numpy() - later["mass_excess"].to_numpy()
                rows.append({"seed": seed, "kind": kind, "rms_keV": float(np.sqrt((error**2).mean()))})
        table = pd.DataFrame(rows)
        scores = _compared(rows)
        return Outcome(
            scores={**scores, "n_test": len(later), "verdict": _verdict(scores)},
            report=Report(
                f"transfer from {self.theory}, AME{self.train} → AME{self.test}, {self.baseline}",
                tuple(Figure(name, value, unit="keV", note=_verdict(scores)) for name, value in scores.items()),
            ),
            tables={"nets": table},
            references=[data.citation(self.train), data.citation(self.test)]
            + [models.baseline(name).citation for name in (self.baseline, self.theory)],
        )


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What the theory says beside the baseline: features (n, f) and residual [keV] (n,)."""

    x: Tensor
    y: Tensor


def _theory(question: law.Question, theory: str) -> _Lesson:
    known = question.masses
    cells = whole_chart(also=list(zip(known["Z"].tolist(), known["N"].tolist(), strict=True)))
    reached = law.Question(question.train, (theory,), question.folder).target(cells, theory).space
    told = law.Question(question.train, (theory,), question.folder).known_physics(reached, theory)
    plain = question.known_physics(reached, question.baselines[0])
    return _Lesson(features(reached), told - plain)


def _predict(question: law.Question, cells: Space, lesson: _Lesson | None, context: Context) -> Tensor:
    """Masses [keV] of all cells by one net."""
    target = question.target(cells, question.baselines[0])
    assert isinstance(target.operator, Selection)
    index, mean = target.operator.index, question.known_physics(cells, question.baselines[0])
    x, masses = features(cells), question.masses
    z, n = protons_neutrons(target.operator.codomain)
    sigma = masses.set_index(["Z", "N"])["sigma"].reindex(pd.MultiIndex.from_arrays([z, n])).to_numpy(np.float64)
    variance = (torch.tensor(sigma).square() + MODEL_ERROR**2) / UNIT**2
    scaling = Scaling.of(x[index] if lesson is None else lesson.x)
    y = (target.data - mean[index]) / UNIT
    with context.rng.child("initial"):
        net: MLP = SHAPE(x.shape[1], 1)
    if lesson is None:
        batch = scaling(x[index]).float(), y.float(), variance.float()
        learnt = fit(net, _likelihood, batch, AFTER, context.child("after")).net
    else:
        even = torch.full_like(lesson.y, (MODEL_ERROR / UNIT) ** 2)
        first = scaling(lesson.x).float(), (lesson.y / UNIT).float(), even.float()
        taught = fit(net, _likelihood, first, FIRST, context.child("first")).net
        batch = scaling(x[index]).float(), y.float(), variance.float()
        learnt = fine_tune(taught, _likelihood, batch, AFTER, context.child("after"), decay=DECAY).net
    with torch.no_grad():
        said: Tensor = learnt(scaling(x).float())[:, 0].double()
    return mean + UNIT * said


def _likelihood(net: torch.nn.Module, *rows: Tensor) -> Tensor:
    x, y, variance = rows
    return gaussian_nll(y, net(x)[:, 0], variance)


def _compared(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Mean RMS [keV] of each kind, and the mean and standard error of the difference by seed."""
    rms = {
        kind: np.array([row["rms_keV"] for row in rows if row["kind"] == kind], dtype=np.float64)
        for kind in ("scratch", "transfer")
    }
    gain = rms["scratch"] - rms["transfer"]
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else 0.0
    return {
        "scratch_rms_keV": float(rms["scratch"].mean()),
        "transfer_rms_keV": float(rms["transfer"].mean()),
        "gain_keV": float(gain.mean()),
        "gain_error_keV": error,
    }


def _verdict(scores: dict[str, float]) -> str:
    gain, error = scores["gain_keV"], scores["gain_error_keV"]
    if gain > 2 * error:
        return f"helps by {gain:.0f} ± {error:.0f} keV"
    return f"does not help here ({gain:+.0f} ± {error:.0f} keV)"
