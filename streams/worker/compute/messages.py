"""What the stream process and its compute child say to one another over their pipe. Frozen values, sent pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.errors import ErrorReport
from schemas.events.tasks import Task
from stages.results import Result

Interruption = Literal["cancel", "preempt"]

# -- to the child ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    task: Task
    traceparent: str | None = None


@dataclass(frozen=True)
class Interrupt:
    """Stop a lease between two steps; one that has not begun is not begun."""

    lease: int
    how: Interruption


@dataclass(frozen=True)
class Stop:
    """End after the task in hand."""


# -- from the child --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """Every stage is loaded. `loaded`: stage/model pairs; `bit_class` of the device, empty for mux alone; `revisions`
    of the models by name."""

    loaded: tuple[str, ...]
    bit_class: str
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChildFailed:
    """The child cannot work: it could not load what it must, or its forkserver is not fit to fork from."""

    why: str


@dataclass(frozen=True)
class Stepped:
    """Step `step` of `steps` is done; `seconds` it took, where the stage measures that."""

    lease: int
    step: int
    steps: int
    seconds: float | None = None


@dataclass(frozen=True)
class Checkpointed:
    """The checkpoint after `step` steps is durable."""

    lease: int
    step: int


@dataclass(frozen=True)
class Previewed:
    """The preview in the store shows what the output is becoming after `step` steps."""

    lease: int
    step: int


@dataclass(frozen=True)
class Logged:
    """A line of the child's log: when it dies, the last ones are the evidence."""

    line: str


@dataclass(frozen=True)
class Measured:
    """A measurement for the stream process's metrics, which are the ones that are scraped."""

    name: str
    amount: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A task has ended. `seconds`: from its start in the child."""

    lease: int
    seconds: float


@dataclass(frozen=True)
class Succeeded(Ended):
    result: Result


@dataclass(frozen=True)
class FailedWith(Ended):
    error: ErrorReport
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class LostInput(Ended):
    stage: str
    key: str
    etag: str
    why: str


@dataclass(frozen=True)
class Interrupted(Ended):
    """`step`: the last one that a durable checkpoint holds."""

    how: Interruption
    step: int | None = None


@dataclass(frozen=True)
class AwaitingUpload(Ended):
    """The output is computed and lies in the spool: the store is away."""


ToChild = Run | Interrupt | Stop
TaskEnd = Succeeded | FailedWith | LostInput | Interrupted | AwaitingUpload
FromChild = Ready | ChildFailed | Stepped | Checkpointed | Previewed | Logged | Measured | TaskEnd
