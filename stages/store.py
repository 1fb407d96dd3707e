"""Artifacts in an object store: objects named by content, a manifest put last, first writer wins.

    artifacts/{tenant}/{stage}/{stage key}/{sha256}          objects
    artifacts/{tenant}/{stage}/{stage key}/manifest.json     what makes the output exist
    videos/{tenant}/{job}/...                                the outputs of mux, per job

The client's `put_object` has no conditional header, so a manifest goes up by a presigned PUT, signed at the moment
of sending, with `If-None-Match: *` (or `If-Match` where a condemned one is replaced).
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeVar

import stamina
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from pydantic import ValidationError

from schemas import places
from schemas.digest import sha256
from schemas.errors import InputLost, StoreUnavailable
from schemas.events import ArtifactRef, Manifest, ObjectRef, Task
from schemas.stage import Stage
from stages.breaker import Breaker
from stages.contract import Blob

SUFFIXES = {"video/mp4": ".mp4", "image/webp": ".webp", "image/jpeg": ".jpg"}
GONE = ("NoSuchKey", "NoSuchBucket", "NoSuchObject")
Answer = TypeVar("Answer")

CONNECT_S, ANSWER_S, PATIENCE_S = 3.0, 10.0, 10.0
"""Seconds for a connection, for any one answer, and after which a request is not tried again."""


class Conflict(Exception):
    """The condition of a conditional PUT did not hold: somebody else wrote first."""


class ManifestUnreadable(Exception):
    """There is a manifest at `etag` that is not one of ours or does not parse."""

    def __init__(self, etag: str) -> None:
        self.etag = etag
        super().__init__(etag)


@dataclass(frozen=True)
class Published:
    manifest: Manifest
    ref: ArtifactRef


@dataclass(frozen=True)
class Stored:
    """An object that is in the store. `modified`: unix seconds."""

    size: int
    modified: float


class Meter(Protocol):
    """Told of every request to the store. Called from the thread that asked."""

    def asked(self, operation: str, outcome: str, seconds: float) -> None: ...

    def moved(self, kind: str, operation: str, size: int) -> None: ...


class NoMeter:
    def asked(self, operation: str, outcome: str, seconds: float) -> None:
        pass

    def moved(self, kind: str, operation: str, size: int) -> None:
        pass


@dataclass
class ArtifactStore:
    """Every call may raise `StoreUnavailable` after a short back-off, or at once while the breaker rests; reads raise
    `InputLost`."""

    client: Minio
    bucket: str
    meter: Meter = field(default_factory=NoMeter)
    attempts: int = 4
    cache_limit: int = 64 * 1024 * 1024
    breaker: Breaker = field(default_factory=Breaker)
    _cache: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _http: urllib3.PoolManager = field(default_factory=lambda: connections(ANSWER_S))

    @classmethod
    def connect(cls, endpoint: str, access_key: str, secret_key: str, bucket: str, *, secure: bool = False,
                region: str = "us-east-1", meter: Meter | None = None, answer_s: float = ANSWER_S,
                ) -> ArtifactStore:  # fmt: skip
        """A store that answers or fails within seconds: retries are ours, not the client's."""
        client = Minio(
            endpoint=endpoint, access_key=access_key, secret_key=secret_key,
            secure=secure, region=region, http_client=connections(answer_s),
        )  # fmt: skip
        return cls(client, bucket, meter or NoMeter())

    # -- places --------------------------------------------------------------------------------------------------

    @staticmethod
    def folder(tenant: str, stage: Stage, key: str, job: str) -> str:
        return places.folder(tenant, stage, key, job)

    @classmethod
    def folder_of(cls, task: Task) -> str:
        return cls.folder(task.tenant, task.stage, task.key, task.job)

    # -- objects -------------------------------------------------------------------------------------------------

    def put(self, folder: str, blob: Blob) -> ObjectRef:
        """Store an object under its own digest; writing it again changes nothing."""
        digest = sha256(blob.data)
        key = f"{folder}/{digest}{SUFFIXES.get(blob.media_type, '')}"
        self._call("put", lambda: self._put(key, blob.data, blob.media_type))
        self.meter.moved("video" if key.startswith("videos/") else "object", "put", len(blob.data))
        self._remember(key, blob.data)
        return ObjectRef(name=blob.name, key=key, size=len(blob.data), sha256=digest, media_type=blob.media_type)

    def put_preview(self, tenant: str, job: str, picture: bytes) -> None:
        """A webp in the place of the one before: no manifest promises it."""
        self._call("put", lambda: self._put(places.preview(tenant, job), picture, "image/webp"))
        self.meter.moved("preview", "put", len(picture))

    def _put(self, key: str, data: bytes, media_type: str) -> bool:
        self.client.put_object(
            bucket_name=self.bucket, object_name=key, data=io.BytesIO(data), length=len(data), content_type=media_type
        )
        return True

    def read(self, ref: ObjectRef, source: ArtifactRef) -> bytes:
        """The bytes that `source`'s manifest promises. Raises `InputLost` when they are gone or not those bytes."""
        data = self._cache.get(ref.key)
        if data is None:
            data = self._get(ref.key, longest=ref.size)
        if data is None:
            raise InputLost(source.stage, source.key, source.etag, f"object {ref.name} is missing")
        if len(data) != ref.size or sha256(data) != ref.sha256:
            self._cache.pop(ref.key, None)
            raise InputLost(source.stage, source.key, source.etag, f"object {ref.name} does not match its digest")
        return data

    def exists(self, ref: ObjectRef) -> bool:
        def stat() -> bool:
            return self.client.stat_object(bucket_name=self.bucket, object_name=ref.key).size == ref.size

        return bool(self._call("stat", lambda: missing_as(False, stat)))

    # -- manifests -----------------------------------------------------------------------------------------------

    def find(self, folder: str) -> Published | None:
        """What is published there, or None.

        Raises `ManifestUnreadable` for what is no manifest, or one that names objects outside of its folder.
        """
        place = f"{folder}/manifest.json"
        found = self._call("get", lambda: missing_as(None, lambda: self._get_with_etag(place)))
        if found is None:
            return None
        data, etag = found
        self.meter.moved("manifest", "get", len(data))
        try:
            manifest = Manifest.read(data)
        except (ValidationError, ValueError):
            raise ManifestUnreadable(etag) from None
        if not places.holds(folder, *(ref.key for ref in manifest.objects)):
            raise ManifestUnreadable(etag)
        return Published(manifest, ArtifactRef(stage=manifest.stage, key=manifest.key, manifest_key=place, etag=etag))

    def read_manifest(self, ref: ArtifactRef) -> Manifest:
        """The manifest that `ref` names, at that etag. Raises `InputLost`."""
        try:
            found = self.find(ref.manifest_key.removesuffix("/manifest.json"))
        except ManifestUnreadable:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is corrupt") from None
        if found is None:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is missing")
        if found.ref.key != ref.key:
            raise InputLost(ref.stage, ref.key, ref.etag, "the manifest is another one")
        return found.manifest

    def publish(self, folder: str, manifest: Manifest, replaces: str | None = None) -> Published:
        """Make an output exist. If somebody was first, theirs is returned: it is as good.

        `replaces`: the etag of a condemned manifest, put out of the way with `If-Match`.
        """
        place = f"{folder}/manifest.json"
        condition = {"If-Match": f'"{replaces}"'} if replaces else {"If-None-Match": "*"}
        operation, data = "put_if_match" if replaces else "put_if_absent", manifest.to_bytes()
        try:
            etag = self._call(operation, lambda: self._conditional_put(place, data, condition))
        except Conflict:
            return self._winner(folder, manifest, replaces)
        self.meter.moved("manifest", "put", len(data))
        ref = ArtifactRef(stage=manifest.stage, key=manifest.key, manifest_key=place, etag=etag)
        return Published(manifest, ref)

    def _winner(self, folder: str, manifest: Manifest, replaces: str | None) -> Published:
        try:
            found = self.find(folder)
        except ManifestUnreadable as error:
            return self.publish(folder, manifest, replaces=error.etag)
        if found is not None and found.ref.etag != replaces:
            return found
        return self.publish(folder, manifest, replaces=None if found is None else found.ref.etag)

    def _conditional_put(self, place: str, data: bytes, condition: dict[str, str]) -> str:
        """The etag written. 412 is a conflict; 409 (two at once) and 5xx are tried again; 404: If-Match on nothing."""
        url = self.client.get_presigned_url(
            method="PUT", bucket_name=self.bucket, object_name=place, expires=timedelta(minutes=5)
        )
        answer = self._http.request("PUT", url, body=data, headers=condition | {"Content-Type": "application/json"})
        if answer.status == 200:
            return answer.headers["ETag"].strip('"')
        if answer.status in (404, 412):
            raise Conflict
        raise StoreUnavailable(f"the store answered {answer.status} to a manifest")

    # -- listings ------------------------------------------------------------------------------------------------

    def list(self, prefix: str) -> list[str]:
        """Object keys under a prefix, without their time or size."""
        listing = self._call(
            "list", lambda: list(self.client.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True))
        )
        return [found.object_name for found in listing if found.object_name]

    def stored(self, prefix: str) -> dict[str, Stored]:
        """Every object under a prefix, by key."""
        listing = self._call(
            "list", lambda: list(self.client.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True))
        )
        return {
            each.object_name: Stored(each.size or 0, each.last_modified.timestamp())
            for each in listing
            if each.object_name and each.last_modified
        }

    def digest_of(self, key: str) -> str | None:
        """Hex SHA-256 of the bytes that are there, read a piece at a time; None where there is no object."""
        return self._call("get", lambda: missing_as(None, lambda: self._digest(key)))

    def _digest(self, key: str) -> str:
        digest = hashlib.sha256()
        answer = self.client.get_object(bucket_name=self.bucket, object_name=key)
        try:
            for piece in answer.stream(1024 * 1024):
                digest.update(piece)
        finally:
            answer.close()
            answer.release_conn()
        return digest.hexdigest()

    def remove(self, key: str) -> None:
        self._call("delete", lambda: self._remove(key))

    def _remove(self, key: str) -> bool:
        self.client.remove_object(bucket_name=self.bucket, object_name=key)
        return True

    def is_reachable(self) -> bool:
        """Whether the bucket answers now; one try, no back-off."""
        try:
            return bool(self.client.bucket_exists(bucket_name=self.bucket))
        except (urllib3.exceptions.HTTPError, S3Error, ServerError, InvalidResponseError):
            return False

    # -- the client ----------------------------------------------------------------------------------------------

    def _get(self, key: str, kind: str = "object", longest: int | None = None) -> bytes | None:
        found = self._call("get", lambda: missing_as(None, lambda: self._get_with_etag(key, longest)))
        if found is None:
            return None
        self.meter.moved(kind, "get", len(found[0]))
        return found[0]

    def _get_with_etag(self, key: str, longest: int | None = None) -> tuple[bytes, str]:
        """Reads one byte more than `longest` at most, so that what is too long is seen and takes no memory."""
        answer = self.client.get_object(bucket_name=self.bucket, object_name=key)
        try:
            return answer.read(None if longest is None else longest + 1), answer.headers["ETag"].strip('"')
        finally:
            answer.close()
            answer.release_conn()

    def _remember(self, key: str, data: bytes) -> None:
        """What was just written is often what the next stage of the same worker reads."""
        self._cache[key] = data
        while sum(map(len, self._cache.values())) > self.cache_limit:
            self._cache.popitem(last=False)

    def _call(self, operation: str, request: Callable[[], Answer]) -> Answer:
        """One request, with its retries: measured as one."""
        tries = self.breaker.allow(self.attempts)
        start, outcome = time.monotonic(), "unavailable"
        try:
            answer = self._persist(request, tries)
            outcome = "ok" if answer or answer == [] else "not_found"
        except Conflict:
            outcome = "lost_race"
            raise
        finally:
            self.breaker.failed() if outcome == "unavailable" else self.breaker.answered()
            self.meter.asked(operation, outcome, time.monotonic() - start)
        return answer

    def _persist(self, request: Callable[[], Answer], tries: int) -> Answer:
        try:
            for attempt in stamina.retry_context(
                on=is_transient, attempts=tries, timeout=PATIENCE_S, wait_initial=0.1, wait_max=2.0
            ):
                with attempt:
                    return request()
        except (urllib3.exceptions.HTTPError, S3Error, ServerError, InvalidResponseError, OSError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:500]) from None
        raise AssertionError("the retry loop always returns or raises")


def connections(answer_s: float) -> urllib3.PoolManager:
    """`answer_s`: how long one answer may take, seconds; the client retries nothing."""
    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=answer_s), retries=False, maxsize=8)


def is_transient(error: Exception) -> bool:
    if isinstance(error, S3Error):
        status = getattr(error.response, "status", 0)
        return status >= 500 or status in (409, 429) or error.code in ("SlowDown", "RequestTimeout")
    return isinstance(
        error, urllib3.exceptions.HTTPError | ServerError | InvalidResponseError | StoreUnavailable | OSError
    )


def missing_as(otherwise: Answer, request: Callable[[], Answer]) -> Answer:
    try:
        return request()
    except S3Error as error:
        if error.code in GONE:
            return otherwise
        raise
