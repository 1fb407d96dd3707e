"""Users and rights on the broker, as the table says: what is missing is made, what it does not have is removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from infra.local.ports import wait_until
from infra.security.rights import Rights
from streams.kafka.topics import Topic

TIMEOUT = 15.0
ITERATIONS = 4096
MECHANISM = ScramMechanism.SCRAM_SHA_512
MANAGING = (AclOperation.CREATE, AclOperation.ALTER, AclOperation.ALTER_CONFIGS)
ANY: Any = None
"""A filter takes None for any name, though its signature does not say so."""
EVERYTHING = AclBindingFilter(
    ResourceType.ANY, ANY, ResourcePatternType.ANY, ANY, ANY, AclOperation.ANY, AclPermissionType.ANY
)


def apply(
    client: AdminClient, prefix: str, rights: Mapping[str, Rights], passwords: Mapping[str, SecretStr], owner: str
) -> None:
    """Returns once the broker acts by the table. `owner` is the superuser. Raises `KafkaException`."""
    _apply_users(client, passwords, owner)
    wanted = {binding for name, each in rights.items() for binding in bindings(prefix, name, each)}
    found = set(acls(client))
    _finish(client.create_acls([*(wanted - found)], request_timeout=TIMEOUT) if wanted - found else {})
    extra = [_filter_of(binding) for binding in found - wanted]
    _finish(client.delete_acls(extra, request_timeout=TIMEOUT) if extra else {})
    # A controller acknowledges a change before the broker acts by it.
    wait_until(lambda: set(acls(client)) == wanted and passwords.keys() <= set(users(client)), TIMEOUT)


def _apply_users(client: AdminClient, passwords: Mapping[str, SecretStr], owner: str) -> None:
    gone = [UserScramCredentialDeletion(name, MECHANISM) for name in users(client) if name not in {owner, *passwords}]
    info = ScramCredentialInfo(MECHANISM, ITERATIONS)
    present = [
        UserScramCredentialUpsertion(name, info, password.get_secret_value().encode())
        for name, password in passwords.items()
    ]
    _finish(client.alter_user_scram_credentials([*gone, *present], request_timeout=TIMEOUT))


def users(client: AdminClient) -> list[str]:
    # For no name in particular it is one future; its stub says that it may be one a name.
    found: Any = client.describe_user_scram_credentials(None, request_timeout=TIMEOUT)
    return list(found.result(TIMEOUT))


def acls(client: AdminClient) -> list[AclBinding]:
    found: list[AclBinding] = client.describe_acls(EVERYTHING, request_timeout=TIMEOUT).result(TIMEOUT)
    return found


def bindings(prefix: str, name: str, rights: Rights) -> Iterator[AclBinding]:
    """What Kafka calls the rights of one principal. Reading, writing and altering imply describing."""
    yield from _topics(prefix, name, rights.reads, (AclOperation.READ,))
    yield from _topics(prefix, name, rights.writes, (AclOperation.WRITE,))
    yield from _topics(prefix, name, rights.manages, MANAGING)
    for kind, names, operation in (
        (ResourceType.GROUP, rights.joins, AclOperation.READ),
        (ResourceType.GROUP, rights.watches, AclOperation.DESCRIBE),
        (ResourceType.TRANSACTIONAL_ID, rights.transactions, AclOperation.WRITE),
    ):
        for each in names:
            yield _binding(kind, f"{prefix}{each}", name, operation)


def _topics(
    prefix: str, name: str, topics: Iterable[Topic], operations: tuple[AclOperation, ...]
) -> Iterator[AclBinding]:
    for topic in topics:
        for operation in operations:
            yield _binding(ResourceType.TOPIC, topic.named(prefix), name, operation)


def _binding(kind: ResourceType, resource: str, name: str, operation: AclOperation) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if resource.endswith("*") else ResourcePatternType.LITERAL
    plain = resource.removesuffix("*")
    return AclBinding(kind, plain, pattern, f"User:{name}", "*", operation, AclPermissionType.ALLOW)


def _filter_of(acl: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation, acl.permission_type
    )


def _finish(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(TIMEOUT)
