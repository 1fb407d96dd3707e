"""The line's bucket, and the lifecycle rules that are only the safety net.

`python -m infra.local.bucket` makes the bucket of the settings.
"""

from __future__ import annotations

from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

from runtime.settings import Settings

ARTIFACT_DAYS = 14
"""Only the net below the janitor. Longer than any job's deadline: a live job never loses an intermediate to it."""
PREVIEW_DAYS = 1


def connect(settings: Settings) -> Minio:
    return Minio(
        endpoint=settings.store_endpoint, access_key=settings.store_access_key,
        secret_key=settings.store_secret_key.get_secret_value(), secure=settings.store_secure,
        region=settings.store_region,
    )  # fmt: skip


def apply(client: Minio, bucket: str) -> None:
    """Make the bucket and set its lifecycle rules; both may be there already.

    MinIO ends torn multipart uploads by itself after a day and refuses a rule for it.
    """
    if not client.bucket_exists(bucket_name=bucket):
        client.make_bucket(bucket_name=bucket)
    rules = [
        Rule(ENABLED, rule_id=name, rule_filter=Filter(prefix=prefix), expiration=Expiration(days=days))
        for name, prefix, days in (
            ("artifacts-safety-net", "artifacts/", ARTIFACT_DAYS), ("previews", "preview/", PREVIEW_DAYS)
        )
    ]  # fmt: skip
    client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig(rules))


if __name__ == "__main__":
    settings = Settings()
    apply(connect(settings), settings.store_bucket)
    print(f"bucket {settings.store_bucket} at {settings.store_endpoint} is there")
