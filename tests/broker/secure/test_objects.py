"""Who may touch an object in the store does it, and every other act is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import pytest
from minio.error import S3Error

from infra.local.plan import settings_in
from runtime.settings import Settings
from tests.broker.secure.line import Secure, store_of

pytestmark = pytest.mark.broker


PLACES = {
    "encode": "artifacts/acme/encode/key/object",
    "denoise": "artifacts/acme/denoise/key/object",
    "checkpoint": "artifacts/acme/denoise/key/checkpoint/cpu/1-1-x",
    "decode": "artifacts/acme/decode/key/object",
    "video": "videos/acme/job/object",
    "preview": "preview/acme/job.webp",
    "model": "models/tiny/object",
}
MAY_PUT = {
    "worker-encode": {"encode"}, "worker-denoise": {"denoise", "checkpoint", "preview"}, "worker-decode": {"decode"},
    "worker-mux": {"video"}, "downstream": set(), "operator": set(),
    "janitor": set(), "gateway": set(),
}  # fmt: skip
MAY_GET = {
    "worker-encode": {"encode"}, "worker-denoise": {"encode", "denoise", "checkpoint"},
    "worker-decode": {"denoise", "checkpoint", "decode"}, "worker-mux": {"decode", "video"}, "downstream": {"video"},
    "operator": PLACES.keys() - {"model", "preview"}, "janitor": PLACES.keys() - {"model", "preview"},
    "gateway": {"video", "preview"},
}  # fmt: skip
MAY_DELETE = {
    "worker-denoise": {"checkpoint"}, "operator": PLACES.keys() - {"model", "preview"},
    "janitor": PLACES.keys() - {"model"},
}  # fmt: skip


def allowed(settings: Settings, act: str) -> set[str]:
    """Where this principal may do it."""
    store, bucket = store_of(settings), settings.store_bucket
    acts: dict[str, Callable[[str], object]] = {
        "put": lambda key: store.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1),
        "get": lambda key: store.get_object(bucket_name=bucket, object_name=key).close(),
        "delete": lambda key: store.remove_object(bucket_name=bucket, object_name=key),
    }
    return {name for name, key in PLACES.items() if is_allowed(partial(acts[act], key))}


def is_allowed(request: Callable[[], object]) -> bool:
    """Any answer but a refusal for want of rights fails."""
    try:
        request()
    except S3Error as error:
        if error.code != "AccessDenied":
            raise
        return False
    return True


def test_each_touches_the_objects_of_its_own_work_and_no_other(secure: Secure) -> None:
    root = settings_in(secure.plan.owner_environment(), Settings())
    for name, may_put in MAY_PUT.items():
        assert allowed(root, "put") == PLACES.keys()
        assert allowed(secure.of(name), "get") == MAY_GET[name], name
        assert allowed(secure.of(name), "put") == may_put, name
        assert allowed(secure.of(name), "delete") == MAY_DELETE.get(name, set()), name
    assert allowed(root, "delete") == PLACES.keys()


def test_coordinator_views_and_upstream_are_nobody_to_the_store(secure: Secure) -> None:
    for name in ("coordinator", "views", "upstream-acme"):
        settings = secure.of(name)
        settings = settings.model_copy(update={"store_secret_key": settings.kafka_password})
        with pytest.raises(S3Error, match="InvalidAccessKeyId"):
            store_of(settings).list_buckets()
