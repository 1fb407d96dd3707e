"""What is wrong with this machine or this line, in plain words. A check is one small function in one list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.local import line_checks, machine_checks
from infra.local.finding import Finding, Problem, Subject
from infra.local.plan import settings_in
from infra.local.stack import Stack
from runtime.settings import Settings


@dataclass(frozen=True)
class Check:
    """`run` says in a few words why all is well, or raises `Problem`."""

    name: str
    run: Callable[[Subject], str]


CHECKS = (
    Check("packages", machine_checks.packages),
    Check("java", machine_checks.java),
    Check("kafka", machine_checks.kafka_jars),
    Check("minio", machine_checks.minio_server),
    Check("disk", machine_checks.disk),
    Check("ports", machine_checks.ports),
    Check("bundles", line_checks.bundles),
    Check("stack", line_checks.services),
    Check("broker", line_checks.broker),
    Check("topics", line_checks.topic_table),
    Check("weights", line_checks.weights),
    Check("readable", line_checks.readable),
    Check("coordinator", line_checks.coordinator),
    Check("dead reports", line_checks.dead_reports),
    Check("store", line_checks.store),
    Check("clock", line_checks.clock),
)


def check(settings: Settings, stack: Stack) -> list[Finding]:
    """Every check in order; a problem of one does not stop the next.

    A running `stack` says where its broker and store are; else `settings` do.
    """
    meant = settings_in(stack.environment(), settings) if stack.is_running else settings
    return [_finding(one, Subject(meant, stack)) for one in CHECKS]


def _finding(one: Check, subject: Subject) -> Finding:
    try:
        return Finding(one.name, True, one.run(subject))
    except Problem as problem:
        return Finding(one.name, False, problem.message, problem.remedy)
    except Exception as error:
        return Finding(one.name, False, f"this check itself failed: {error!r}", "report it, with this line")
