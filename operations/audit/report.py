"""What an audit finds, as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Violation:
    """A promise that does not hold. `subject` is the job, object or record; `message` says what is wrong with it."""

    promise: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.subject}: {self.message}"


@dataclass(frozen=True)
class Compute:
    """Compute seconds of all jobs. `wasted`: by how the lease ended that gave nothing."""

    useful: float = 0.0
    wasted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """`checked`: how many of what were looked at. `open_jobs` are under way, which is no breach."""

    checked: dict[str, int]
    open_jobs: int
    compute: Compute
    violations: tuple[Violation, ...] = ()
    notices: tuple[str, ...] = ()
    """What keeps the line from getting on as it was read. No promise is broken by it yet."""

    @property
    def is_ok(self) -> bool:
        return not self.violations
