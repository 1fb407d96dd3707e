"""What a chaos run came to: figures, tables, and each promise that did not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from operations.audit.report import Report
from tests.bench.report import table
from tests.chaos.deletes import GONE_BOUND_S, Deleted
from tests.chaos.hostile import STANDSTILL_BOUND_S, Harm
from tests.chaos.measure import Ends, Work, middle
from tests.chaos.outputs import Spoilt
from tests.chaos.told import Told
from tests.chaos.victims import Hit


@dataclass(frozen=True)
class Result:
    seed: int
    ends: Ends
    work: Work
    recoveries: dict[str, list[float]]
    hits: list[Hit]
    failures: list[str]
    report: Report
    leaked: list[str] = field(default_factory=list)
    """Files, topics and processes that hold a secret."""
    told: Told = field(default_factory=Told)
    spoilt: Spoilt = field(default_factory=Spoilt)
    harm: Harm = field(default_factory=Harm)
    deleted: Deleted = field(default_factory=Deleted)

    @property
    def is_ok(self) -> bool:
        return not any(self.broken())

    @property
    def all_recoveries(self) -> list[float]:
        return [second for seconds in self.recoveries.values() for second in seconds]

    def figures(self) -> dict[str, object]:
        seconds = self.all_recoveries
        return {
            "jobs": self.ends.asked, "completions": self.ends.completions,
            "lost": len(self.ends.lost), "doubled": len(self.ends.doubled),
            "redone_of_total": round(self.work.redone_of_total, 4), "recovery_p50_s": round(middle(seconds), 2),
            "recovery_max_s": round(max(seconds, default=0.0), 2), "audit_ok": self.report.is_ok,
            "untold": len(self.told.untold), "standstill_max_s": round(self.harm.standstill, 2),
            "deleted": self.deleted.count, "gone_max_s": round(self.deleted.longest_s, 2),
        }  # fmt: skip

    def broken(self) -> Iterator[str]:
        """Each promise that did not hold, and by whom it is shown."""
        if self.ends.lost:
            yield f"an accepted job is never lost: {len(self.ends.lost)} without completion: {named(self.ends.lost)}"
        if self.ends.doubled:
            yield f"one completion a job: {len(self.ends.doubled)} have more: {named(self.ends.doubled)}"
        for violation in self.report.violations:
            yield f"the audit: {violation}"
        if self.told.untold:
            yield f"who asked for it hears of each end: {len(self.told.untold)} untold: {named(self.told.untold)}"
        if self.told.split:
            yield f"one webhook-id an end: {len(self.told.split)} have more: {named(self.told.split)}"
        if self.harm.standstill > STANDSTILL_BOUND_S:
            stood = f"{self.harm.standstill:.0f} s, at most {STANDSTILL_BOUND_S:g} s"
            yield f"no tenant stops the others: nothing of theirs was dispatched for {stood}"
        if self.deleted.left:
            yield f"what is deleted is gone: {len(self.deleted.left)} left something: {named(self.deleted.left)}"
        if self.deleted.longest_s > GONE_BOUND_S:
            yield f"what is deleted is soon gone: after {self.deleted.longest_s:.0f} s, at most {GONE_BOUND_S:g} s"
        for fault in self.harm.faults:
            yield f"a bad request is answered in words: {fault}"
        for place in self.leaked:
            yield f"nothing secret is logged: {place}"

    def tables(self) -> str:
        return f"{self._outcome()}\n\n{self._faults()}"

    def _outcome(self) -> str:
        ends, work, seconds = self.ends, self.work, self.all_recoveries
        rows = [
            ("jobs asked for", ends.asked),
            ("completions", ", ".join(f"{count} {name}" for name, count in sorted(ends.by_type.items()))),
            ("lost", len(ends.lost)),
            ("doubled", len(ends.doubled)),
            ("healthy jobs that failed", len(self.failures)),
            ("breaches that the audit found", len(self.report.violations)),
            ("ends that a webhook was owed, not told, told twice",
             f"{self.told.owed}, {len(self.told.untold)}, {self.told.repeated}"),
            ("outputs harmed behind the line's back, found by a stage, never read again",
             f"{self.spoilt.harmed}, {self.spoilt.found}, {self.spoilt.left}"),
            ("attacks of a hostile tenant, by kind", counted(self.harm.sent)),
            ("of these, not made since a fault had struck the broker", len(self.harm.unsent)),
            ("longest wait of others in which nothing of theirs was dispatched", f"{self.harm.standstill:.1f} s"),
            ("finished videos that their tenants deleted, of these with something left in the store",
             f"{self.deleted.count}, {len(self.deleted.left)}"),
            ("longest time from such a delete to its last object gone", f"{self.deleted.longest_s:.1f} s"),
            ("places that hold a secret", len(self.leaked)),
            ("redone compute of all compute", f"{work.redone:.1f} s of {work.useful + work.redone:.1f} s "
                                              f"({work.redone_of_total:.1%})"),
            ("redone a fault", f"{work.redone / max(len(self.hits), 1):.2f} s"),
            ("compute under leases that gave nothing", f"{sum(self.report.compute.wasted.values()):.1f} s"),
            ("denoise steps that `progress` told of", f"{work.steps_seen:.1%}"),
            ("recovery, median and worst", f"{middle(seconds):.1f} s, {max(seconds, default=0.0):.1f} s"),
        ]  # fmt: skip
        return table(("what", "figure"), rows)

    def _faults(self) -> str:
        counts = Counter(hit.fault.kind.name for hit in self.hits)
        rows = []
        for kind, count in sorted(counts.items()):
            seconds = self.recoveries.get(kind, [])
            spread = f"{middle(seconds):.1f} s, {max(seconds):.1f} s ({len(seconds)})" if seconds else ""
            rows.append((kind, count, spread))
        return table(("fault", "times", "recovery: median, worst (n)"), rows)


def counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))


def named(jobs: Sequence[str]) -> str:
    return ", ".join(jobs[:10]) + (" ..." if len(jobs) > 10 else "")
