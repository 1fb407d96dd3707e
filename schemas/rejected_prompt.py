"""A prompt that cannot be taken in, of which tenant and id can be read: its sender hears of it as of any other job."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from schemas import envelope
from schemas.digest import sha256
from schemas.envelope import Envelope, Headers, UnreadableEvent
from schemas.errors import ErrorReport, InvalidJob, NotTakenIn, legible
from schemas.events.prompts import PromptSubmitted

IDENTITY = {"tenant", "idempotency_key"}


class RejectedPrompt(NamedTuple):
    """`prompt` has those of its fields that can be read. `body_digest` is the same for the same record sent again.

    `wrong` says what cannot be read; None where all can, and the fault lies with the line.
    """

    prompt: PromptSubmitted
    about: Envelope
    body_digest: str
    wrong: UnreadableEvent | None = None

    @property
    def error(self) -> ErrorReport:
        """What its sender is told."""
        if self.wrong is None:
            return NotTakenIn("the line could not take this prompt in; its operator has it as a dead letter").report()
        message, field, value = str(self.wrong), self.wrong.field, self.wrong.value
        return ErrorReport(
            kind=InvalidJob.kind, code=InvalidJob.code, message=legible(message), field=field, value=value
        )


def rejected_prompt(value: bytes | None, headers: Headers) -> RejectedPrompt | None:
    """What is known of a record that cannot be taken in; None if it is no prompt, or nobody can be told."""
    try:
        event, about = envelope.read(value, headers)
    except UnreadableEvent as error:
        return salvaged(error, value or b"")
    return RejectedPrompt(event, about, event.body_digest) if isinstance(event, PromptSubmitted) else None


def salvaged(error: UnreadableEvent, value: bytes) -> RejectedPrompt | None:
    """The prompt without its wrong fields, unless one of them says whose it is."""
    unread = error.unread
    if unread is None or unread.model is not PromptSubmitted or not isinstance(unread.data, dict):
        return None
    wrong = wrong_fields(unread.data)
    if not wrong or wrong & IDENTITY:
        return None
    fields = {name: field for name, field in unread.data.items() if name not in wrong}
    try:
        prompt = PromptSubmitted.read({"prompt": "-"} | fields)
    except ValidationError:
        return None
    return RejectedPrompt(prompt, unread.envelope, sha256(value), error)


def wrong_fields(data: dict[str, object]) -> set[str]:
    """Empty where no field alone is to blame."""
    try:
        PromptSubmitted.read(data)
    except ValidationError as error:
        places = [each["loc"] for each in error.errors(include_url=False, include_input=False, include_context=False)]
        return {str(place[0]) for place in places} if all(places) else set()
    return set()
