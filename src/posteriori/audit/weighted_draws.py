"""Can these rows be trusted? Anyone's draws of a target, audited: accept, repair or refuse, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from torch import Tensor

from posteriori.audit.both_ways import BothWays, both_ways
from posteriori.audit.chain_checks import chain_checks
from posteriori.audit.finding import Finding, Remedy, judged
from posteriori.audit.identities import Identity, identities
from posteriori.audit.report import Figure, Report
from posteriori.audit.row_checks import row_checks
from posteriori.audit.weighted_rows import Forward, WeightedRows, figures_of
from posteriori.core.random import Rng
from posteriori.core.target import Target
from posteriori.core.weights import log_mean_exp

CAUSES = {"drift", "independence"}
IDENTITIES = {
    *("virial", "mean_force", "equipartition", "curvature", "virial_by_energy", "waves", "temperature"),
    "same_distribution",
}


class Verdict(Enum):
    """What to do with the rows."""

    ACCEPT = "accept"
    REPAIR = "repair"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Audit:
    """What an audit of rows found.

    Attributes:
        verdict: accept, repair or refuse.
        reason: why, as a sentence.
        remedy: what would mend the rows.
        report: every figure with its gate.
        rows: as the target sees them.
        identities: with their z-scores.
        both_ways: what forward rows told; None without any.
        findings: behind the report.
    """

    verdict: Verdict
    reason: str
    remedy: Remedy
    report: Report
    rows: WeightedRows
    identities: list[Identity]
    both_ways: BothWays | None
    findings: tuple[Finding, ...]

    @property
    def log_z(self) -> dict[str, tuple[float, float]]:
        """log ∫ exp(-U) and its standard error by estimator; empty where no density of a proposal is known."""
        if self.both_ways is not None and self.both_ways.log_z:
            return self.both_ways.log_z
        if self.rows.log_q is None:
            return {}
        mean, error = log_mean_exp(-self.rows.energy - self.rows.log_q)
        return {"importance": (float(mean), float(error))}

    def mean(self, figures: Tensor) -> tuple[Tensor, Tensor]:
        """Expectations of ``figures`` (row, j) of the audited rows and their standard errors, (j,)."""
        return self.rows.mean(figures)


def audit_draws(
    target: Target,
    rows: Tensor,
    log_weights: Tensor | None = None,
    log_q: Tensor | None = None,
    forward: Forward | None = None,
    chains: int | None = None,
    energy: Tensor | None = None,
    rng: Rng | None = None,
) -> Audit:
    """Audit rows that are said to come from exp(-energy) of ``target``, as they are or with weights.

    Sound rows are doubted in at most five of a hundred audits.

    Args:
        target: with a gradient; its support is all of space.
        rows: (row, *space.shape).
        log_weights: unnormalised (row,); None where rows have equal weights, or where ``log_q`` gives them.
        log_q: log density of the proposal at the rows, (row,); weights are then exp(-energy) / q.
        forward: rows of the target from an independent sampler; without them a mode that no row has seen stays unseen.
        chains: equal chains of the rows, one after the other; None where every row is said to be independent.
        energy: energies that came with the rows [kT], (row,), to be held against the target's.
        rng: of random directions.

    Raises:
        DataError: rows or figures that cannot be used at all.
        UnanswerableError: the energy has no gradient.
    """
    rng = rng or Rng(0)
    seen = WeightedRows.of(target, rows, log_weights, log_q, chains)
    own = identities(seen, rng.child("identities"))
    claimed = figures_of(energy, len(rows), "energies")
    claimed = None if claimed is None else claimed[seen.kept]
    found = row_checks(seen, claimed, log_weights is not None, rng.child("forces"))
    found += chain_checks(seen, rng.child("chains"))
    found += [_judged(seen, identity) for identity in own]
    ways = None
    if forward is not None:
        other = WeightedRows.of(target, forward.rows, chains=forward.chains)
        density = figures_of(forward.log_q, len(forward.rows), "forward log q")
        other = other if density is None else replace(other, log_q=density[other.kept])
        ways = both_ways(seen, other, rng.child("forward"))
        found += ways.findings
    verdict, reason, remedy = _verdict(found)
    report = Report(f"{len(rows)} rows of {target.space}", (*_facts(seen), *(f.figure for f in found)))
    return Audit(verdict, reason, remedy, report, seen, own, ways, tuple(found))


def _judged(rows: WeightedRows, identity: Identity) -> Finding:
    worst = int(identity.z.abs().argmax())
    shown = identity.expected + float(identity.means[worst])
    note = f"{identity.text}; found {shown:.4g} ± {float(identity.errors[worst]):.2g}"
    reason = f"{identity.text}: the rows give {shown:.4g} ± {float(identity.errors[worst]):.2g}, {{z}} s.e. away"
    return judged(identity.name, identity.z, rows.effective_in_time, reason, Remedy.REFUSE, note)


def _facts(rows: WeightedRows) -> list[Figure]:
    mean, error = rows.mean(rows.energy[:, None])
    facts = [Figure("mean_energy", float(mean[0]), float(error[0]), "kT")]
    if rows.log_weights is not None:
        facts.append(Figure("ess_reverse", rows.effective / len(rows), note="effective rows by the weights, of all"))
    else:
        facts.append(
            Figure("effective_of_energy", rows.effective_in_time, note="rows by the correlation of the energy")
        )
    return facts


def _verdict(found: list[Finding]) -> tuple[Verdict, str, Remedy]:
    failed = [f for f in found if f.failed]
    if not failed:
        return Verdict.ACCEPT, "every check holds", Remedy.NONE
    # a start far away, or correlation that was not told, breaks identities too: mending it comes first
    causes = [f for f in failed if f.figure.name in CAUSES]
    others = {f.figure.name for f in failed} - IDENTITIES - CAUSES - {"halves", "chains_agree"}
    if causes and not others:
        failed = causes
    first = min(failed, key=lambda f: (f.remedy is not Remedy.REFUSE, -f.excess))
    more = f" ({len(failed) - 1} more checks fail)" if len(failed) > 1 else ""
    if first.remedy is Remedy.REFUSE:
        return Verdict.REFUSE, first.reason + more, Remedy.REFUSE
    return Verdict.REPAIR, f"{first.reason}; it takes {first.remedy.value}{more}", first.remedy
