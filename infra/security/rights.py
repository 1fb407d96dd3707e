"""The one table of who may do what in a secure line: topics, groups, transactions, objects, tenants.

Broker and store are told what it says and nothing else (`broker.py`, `store.py`), so what is not here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.local.services import Service
from schemas import store_layout
from schemas.stage import STAGES, Stage
from streams.kafka.clients import COORDINATORS_GROUP, UNUSED_GROUP
from streams.kafka.topics import (
    COMPLETIONS,
    DLQ,
    ENDPOINTS,
    JOBS,
    POLICY,
    PROGRESS,
    PROMPTS,
    REPORTS,
    TASKS,
    TENANTS,
    TOPICS,
    USAGE,
    VIDEOS,
    WEBHOOKS,
    Topic,
)

OPERATOR, DOWNSTREAM, COORDINATOR, VIEWS, GATEWAY = "operator", "downstream", "coordinator", "views", "gateway"
JANITOR = "janitor"
NOTIFIER, NOTIFIERS = "notifier", "latentline.notifier"
"""The service, and its group and transactional id."""
WEBHOOK_SECRET, KEY_SECRET = "webhook_secret", "gateway_key_secret"
"""From which webhooks are signed; under which API keys are hashed."""
CELLS, VIEWS_GROUPS = "latentline.cell-*", "latentline-views-*"


@dataclass(frozen=True)
class Rights:
    """What one principal may do. A name or object key that ends in `*` stands for all that begin so."""

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    manages: tuple[Topic, ...] = ()
    """Creates and configures them."""
    joins: tuple[str, ...] = ()
    """Groups that it consumes and commits in."""
    watches: tuple[str, ...] = (UNUSED_GROUP,)
    """Groups whose offsets it may see; readers that assign partitions name one that nobody joins."""
    transactions: tuple[str, ...] = ()
    gets: tuple[str, ...] = ()
    puts: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    speaks_for: tuple[str, ...] | None = ()
    """Tenants in whose name it may sign prompts; None: all."""
    shares: tuple[str, ...] = ()
    """Settings of the secrets that it has in common with others."""

    @property
    def uses_store(self) -> bool:
        return bool(self.gets or self.puts or self.deletes)


def outputs(stage: Stage) -> str:
    """Every object of a stage, whatever tenant or job."""
    return f"{store_layout.folder('*', stage, '*', '*')}/*"


def checkpoints(stage: Stage) -> str:
    return f"{store_layout.folder('*', stage, '*', '*')}/checkpoint/*"


PREVIEWS = store_layout.preview("*", "*")
MANIFESTS = (f"artifacts/*/{store_layout.MANIFEST}", f"videos/*/{store_layout.MANIFEST}")


def worker(stages: Sequence[Stage]) -> Rights:
    """Of one process that serves these stages: it reads what they read and writes what they write."""
    inputs = [stage.upstream for stage in stages if stage.upstream]
    return Rights(
        reads=tuple(TASKS[stage] for stage in stages),
        writes=(REPORTS, PROGRESS),
        gets=tuple(outputs(stage) for stage in dict.fromkeys([*inputs, *stages])),
        puts=(*(outputs(stage) for stage in stages), *(PREVIEWS for stage in stages if stage is Stage.DENOISE)),
        deletes=tuple(checkpoints(stage) for stage in stages if stage is Stage.DENOISE),
    )


def upstream(tenant: str) -> Rights:
    return Rights(writes=(PROMPTS,), watches=(), speaks_for=(tenant,))


SERVICES = {
    COORDINATOR: Rights(
        reads=(PROMPTS, REPORTS, JOBS, POLICY, TENANTS),
        writes=(*TASKS.values(), REPORTS, JOBS, VIDEOS, POLICY, COMPLETIONS, DLQ),
        joins=(COORDINATORS_GROUP,),
        transactions=(CELLS,),
    ),
    VIEWS: Rights(reads=(JOBS, COMPLETIONS), writes=(USAGE,), joins=(VIEWS_GROUPS,)),
    # It checks the keys of every tenant, and sees how far the coordinator has read, so that it can tell a create that
    # waits from one that is missing.
    GATEWAY: Rights(
        reads=(JOBS, VIDEOS, PROGRESS, TENANTS, ENDPOINTS, WEBHOOKS),
        writes=(PROMPTS, ENDPOINTS, WEBHOOKS),
        watches=(UNUSED_GROUP, COORDINATORS_GROUP),
        gets=("videos/*", PREVIEWS),
        speaks_for=None,
        shares=(WEBHOOK_SECRET, KEY_SECRET),
    ),
    NOTIFIER: Rights(
        reads=(COMPLETIONS, JOBS, PROGRESS, ENDPOINTS, WEBHOOKS),
        writes=(WEBHOOKS,),
        joins=(NOTIFIERS,),
        transactions=(NOTIFIERS,),
        shares=(WEBHOOK_SECRET,),
    ),
    # It puts back the manifest of what a job has taken hold of meanwhile, and tells the coordinator what has expired.
    JANITOR: Rights(
        reads=(JOBS, VIDEOS, TENANTS),
        writes=(VIDEOS, REPORTS, DLQ),
        watches=(UNUSED_GROUP, COORDINATORS_GROUP),
        gets=("artifacts/*", "videos/*"),
        puts=MANIFESTS,
        deletes=("artifacts/*", "videos/*", PREVIEWS),
    ),
}

PEOPLE = {
    DOWNSTREAM: Rights(reads=(COMPLETIONS, USAGE), joins=("downstream*",), gets=("videos/*",)),
    OPERATOR: Rights(
        reads=TOPICS,
        writes=(PROMPTS, REPORTS, DLQ, TENANTS, ENDPOINTS),
        manages=TOPICS,
        watches=(UNUSED_GROUP, COORDINATORS_GROUP),
        gets=("artifacts/*", "videos/*"),
        puts=MANIFESTS,  # `latentline gc` puts one back that a job has taken hold of
        deletes=("artifacts/*", "videos/*"),
        speaks_for=None,
        shares=(KEY_SECRET,),  # `latentline keys create` hashes as the gateways do
    ),
}


def upstream_of(tenant: str) -> str:
    return f"upstream-{tenant}"


def table(services: Iterable[Service], tenants: Iterable[str]) -> dict[str, Rights]:
    """Rights by principal, of a line with these services that these tenants send prompts to."""
    served = [(stage,) for stage in STAGES] + [stages_of(service) for service in services]
    workers = {principal_of(stages): worker(stages) for stages in served if stages}
    return SERVICES | workers | {upstream_of(tenant): upstream(tenant) for tenant in tenants} | PEOPLE


def stages_of(service: Service) -> tuple[Stage, ...]:
    """What a worker serves; nothing for another service."""
    command, *arguments = service.arguments
    return tuple(map(Stage, arguments[0].split(","))) if command == "worker" else ()


def principal_of(stages: Sequence[Stage]) -> str:
    return "-".join(("worker", *stages))


def principal(service: Service) -> str:
    """As whom a service comes: workers of the same stages are one."""
    stages = stages_of(service)
    return principal_of(stages) if stages else service.arguments[0]
