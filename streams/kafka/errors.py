"""What can go wrong for a client of the line, in words for the person who reads it."""

from __future__ import annotations

from collections.abc import Collection


class ClientError(Exception):
    """Root: the message names what failed, why, and what to do."""


class Unreachable(ClientError):
    """Kafka does not answer."""

    def __init__(self, bootstrap: str, why: object) -> None:
        super().__init__(f"Kafka at {bootstrap} does not answer: {why}. Is the line up? `latentline doctor` tells more")


class TopicMissing(ClientError):
    def __init__(self, topic: str) -> None:
        super().__init__(f"the topic {topic} does not exist: create the line's topics with `latentline topics apply`")


class NotDelivered(ClientError):
    """Some events were not acknowledged: whether the line has them is not known; sending the same ids again is safe."""


class UnknownJobs(ClientError):
    """The line says nothing of these jobs."""

    def __init__(self, jobs: Collection[str], seconds: float) -> None:
        named = ", ".join(sorted(jobs)[:5])
        super().__init__(
            f"the line knows no job {named}: nothing was heard of it for {seconds:g} s. `latentline jobs` lists those "
            "that it has, `latentline dlq list` what it could not take in"
        )


class NothingHappened(ClientError):
    """Jobs that are followed have not moved for longer than the caller is ready to wait."""
