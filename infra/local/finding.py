"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass

from infra.local.stack import Stack
from runtime.settings import Settings


@dataclass(frozen=True)
class Finding:
    """`message` says what is, `remedy` what to do about it; the latter is empty when all is well."""

    name: str
    ok: bool
    message: str
    remedy: str = ""


class Problem(Exception):
    """A check raises it: what is wrong, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


@dataclass(frozen=True)
class Subject:
    """What is looked at: a local stack, up or down, and the settings of the line that is meant."""

    settings: Settings
    stack: Stack
