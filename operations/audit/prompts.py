"""The promise about prompts: each is a job, a replay of one, or a dead letter that holds its original bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from operations.audit.jobs import JobsLog
from operations.audit.report import Violation
from operations.audit.videos import Videos
from schemas import envelope
from schemas.digest import sha256
from schemas.envelope import Headers, UnreadableEvent
from schemas.events.prompts import CancelRequested, DeleteRequested, PromptSubmitted
from schemas.rejected_prompt import rejected_prompt
from schemas.stage_keys import identity_of
from streams.coordinator.core.records import HEADER_BYTES_KEPT, HEADERS_KEPT
from streams.kafka.topics import PROMPTS

DEAD_LETTER_PREFIX = "dlq_"
CUT = {"dlq_truncated_from", "dlq_headers_dropped"}
"""Headers of a dead letter that could not hold all of the original."""


@dataclass(frozen=True)
class Prompt:
    """A record of `prompts` as it was read."""

    partition: int
    offset: int
    value: bytes | None
    headers: Headers = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"{PROMPTS.name}/{self.partition}/{self.offset}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.value, self.headers[:HEADERS_KEPT])


def fingerprint(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> str:
    """Of original bytes and headers, as far as a dead letter keeps them."""
    kept = [(name, text[:HEADER_BYTES_KEPT]) for name, text in headers if not name.startswith(DEAD_LETTER_PREFIX)]
    return sha256(repr((value, kept)).encode())


@dataclass
class Letters:
    """Dead letters by origin. One that was cut for its size has no fingerprint to compare."""

    by_origin: dict[str, str | None] = field(default_factory=dict)

    def take(self, value: bytes | None, headers: Headers) -> None:
        texts = {name: text.decode(errors="replace") for name, text in headers}
        if "dlq_origin" not in texts:
            return
        is_cut = not CUT.isdisjoint(texts)
        self.by_origin[texts.get("dlq_origin", "")] = None if is_cut else fingerprint(value, headers)


def check_prompt(
    prompt: Prompt, jobs: JobsLog, letters: Letters, videos: Videos | None = None
) -> Iterator[Violation]:  # fmt: skip
    """`prompt` is one that the coordinator has answered for."""
    if prompt.origin in letters.by_origin:
        kept = letters.by_origin[prompt.origin]
        if kept is not None and kept != prompt.fingerprint:
            yield Violation("no prompt is lost", prompt.origin, "its dead letter does not hold the original bytes")
    elif reason := why_lost(prompt, jobs, videos or Videos()):
        yield Violation("no prompt is lost", prompt.origin, f"it is no dead letter, and {reason}")


def why_lost(prompt: Prompt, jobs: JobsLog, videos: Videos) -> str | None:
    """Why a record that is no dead letter is not accounted for."""
    try:
        event, attributes = envelope.read(prompt.value, prompt.headers)
    except UnreadableEvent as error:
        return None if is_told(prompt, jobs) else f"it cannot be read: {error}"
    if isinstance(event, DeleteRequested):
        return f"the video of {event.job} is still there" if videos.must_have(event, prompt.origin) else None
    if isinstance(event, CancelRequested):
        return None if jobs.knows(event.job) else f"nobody knows the job {event.job} that it ends"
    if not isinstance(event, PromptSubmitted):
        return f"{attributes.type} is no prompt"
    job, earlier = identity_of(event, attributes.source, attributes.id)
    if earlier is not None and why_not_of(earlier, event, jobs) is None:
        # Accepted by a release before this one, or signed by a client of one.
        return None
    return why_not_of(job, event, jobs)


def is_told(prompt: Prompt, jobs: JobsLog) -> bool:
    """Whether this is a repetition of a prompt that was rejected, of which its first dead letter and a job tell."""
    rejected = rejected_prompt(prompt.value, prompt.headers)
    if rejected is None:
        return False
    known = jobs.latest.get(identity_of(rejected.prompt, rejected.about.source, rejected.about.id).job)
    return known is not None and known.body_digest == rejected.body_digest


def why_not_of(job: str, event: PromptSubmitted, jobs: JobsLog) -> str | None:
    """Why this is not the job that the prompt has become."""
    state = jobs.latest.get(job)
    if state is not None and not state.is_submitted:
        return f"of {job} only a cancel is known"
    if state is not None and not event.has_body(state.body_digest):
        return f"{job} was accepted with another body"
    return None if jobs.knows(job) else f"{job} does not exist"
