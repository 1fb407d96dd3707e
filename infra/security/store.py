"""Users and policies on MinIO, as the table says: one of each a principal that uses the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from pydantic import SecretStr

from infra.security.rights import Rights
from runtime.settings import Settings

VERSION = "2012-10-17"


def connect(settings: Settings) -> MinioAdmin:
    """`settings` of the store's own root user."""
    credentials = StaticProvider(settings.store_access_key, settings.store_secret_key.get_secret_value())
    return MinioAdmin(
        endpoint=settings.store_endpoint, credentials=credentials, region=settings.store_region,
        secure=settings.store_secure,
    )  # fmt: skip


def apply(admin: MinioAdmin, bucket: str, rights: Mapping[str, Rights], secrets: Mapping[str, SecretStr]) -> None:
    """Make every user with its policy, and remove every other user. Raises `minio.error.MinioAdminException`."""
    users = {name: each for name, each in rights.items() if each.uses_store}
    for name in orjson.loads(admin.user_list()).keys() - users.keys():
        admin.user_remove(name)
    for name, each in users.items():
        admin.policy_add(name, policy=policy(bucket, each))
        admin.user_add(name, secrets[name].get_secret_value())
        admin.policy_set(name, user=name)


def policy(bucket: str, rights: Rights) -> dict[str, object]:
    """An S3 policy. Listing is asking whether the bucket is there, too, so all who use it may; names are no secret."""
    return {"Version": VERSION, "Statement": [*_statements(bucket, rights)]}


def _statements(bucket: str, rights: Rights) -> Iterator[dict[str, object]]:
    yield {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]}
    for action, keys in (
        ("s3:GetObject", rights.gets),
        ("s3:PutObject", rights.puts),
        ("s3:DeleteObject", rights.deletes),
    ):
        if keys:
            objects = [f"arn:aws:s3:::{bucket}/{key}" for key in keys]
            yield {"Effect": "Allow", "Action": [action], "Resource": objects}
