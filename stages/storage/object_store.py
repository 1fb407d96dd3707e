"""Bytes at keys in one bucket of an S3 store: each request is tried again within seconds, and measured as one.

The client's `put_object` has no conditional header, so a conditional PUT is a presigned one, signed at the moment of
sending.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, Self, TypeVar

import stamina
import urllib3
from minio import Minio
from minio.datatypes import Object
from minio.error import InvalidResponseError, S3Error, ServerError

from schemas.errors import StoreUnavailable
from stages.storage.circuit_breaker import Breaker

GONE = ("NoSuchKey", "NoSuchBucket", "NoSuchObject")
TROUBLE = (urllib3.exceptions.HTTPError, S3Error, ServerError, InvalidResponseError, OSError)
Answer = TypeVar("Answer")

CONNECT_S, ANSWER_S, PATIENCE_S = 3.0, 10.0, 10.0
"""Seconds for a connection, for any one answer, and after which a request is not tried again."""


class Conflict(Exception):
    """The condition of a conditional PUT did not hold: somebody else wrote first."""


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
class ObjectStore:
    """Every call may raise `StoreUnavailable`, after a short back-off, or at once while the breaker rests.

    `kind` is what the meter calls the bytes that move.
    """

    client: Minio
    bucket: str
    meter: Meter = field(default_factory=NoMeter)
    attempts: int = 4
    breaker: Breaker = field(default_factory=Breaker)
    _http: urllib3.PoolManager = field(default_factory=lambda: connections(ANSWER_S))

    @classmethod
    def connect(cls, endpoint: str, access_key: str, secret_key: str, bucket: str, *, secure: bool = False,
                region: str = "us-east-1", meter: Meter | None = None, answer_s: float = ANSWER_S,
                ) -> Self:  # fmt: skip
        """A store that answers or fails within seconds: retries are ours, not the client's."""
        client = Minio(
            endpoint=endpoint, access_key=access_key, secret_key=secret_key,
            secure=secure, region=region, http_client=connections(answer_s),
        )  # fmt: skip
        return cls(client, bucket, meter or NoMeter())

    # -- one object ----------------------------------------------------------------------------------------------

    def write(self, key: str, data: bytes, media_type: str, kind: str) -> None:
        self._call("put", lambda: self._put(key, data, media_type))
        self.meter.moved(kind, "put", len(data))

    def _put(self, key: str, data: bytes, media_type: str) -> bool:
        self.client.put_object(
            bucket_name=self.bucket, object_name=key, data=io.BytesIO(data), length=len(data), content_type=media_type
        )
        return True

    def write_if(self, key: str, data: bytes, replaces: str | None, kind: str) -> str:
        """The etag written, where `replaces` is the etag that is there; None: nothing is. Raises `Conflict`."""
        condition = {"If-Match": f'"{replaces}"'} if replaces else {"If-None-Match": "*"}
        operation = "put_if_match" if replaces else "put_if_absent"
        etag = self._call(operation, lambda: self._conditional_put(key, data, condition))
        self.meter.moved(kind, "put", len(data))
        return etag

    def _conditional_put(self, key: str, data: bytes, condition: dict[str, str]) -> str:
        """The etag written. 412 is a conflict; 409 (two at once) and 5xx are tried again; 404: If-Match on nothing."""
        url = self.client.get_presigned_url(
            method="PUT", bucket_name=self.bucket, object_name=key, expires=timedelta(minutes=5)
        )
        answer = self._http.request("PUT", url, body=data, headers=condition | {"Content-Type": "application/json"})
        if answer.status == 200:
            return answer.headers["ETag"].strip('"')
        if answer.status in (404, 412):
            raise Conflict
        raise StoreUnavailable(f"the store answered {answer.status} to a conditional PUT")

    def fetch(self, key: str, kind: str, longest: int | None = None) -> bytes | None:
        """None where there is no object. One byte more than `longest` at most, so that what is too long is seen and
        takes no memory."""
        found = self.fetch_with_etag(key, kind, longest)
        return None if found is None else found[0]

    def fetch_with_etag(self, key: str, kind: str, longest: int | None = None) -> tuple[bytes, str] | None:
        found = self._call("get", lambda: missing_as(None, lambda: self._get(key, longest)))
        if found is not None:
            self.meter.moved(kind, "get", len(found[0]))
        return found

    def _get(self, key: str, longest: int | None) -> tuple[bytes, str]:
        answer = self.client.get_object(bucket_name=self.bucket, object_name=key)
        try:
            return answer.read(None if longest is None else longest + 1), answer.headers["ETag"].strip('"')
        finally:
            answer.close()
            answer.release_conn()

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

    def has(self, key: str, size: int) -> bool:
        def stat() -> bool:
            return self.client.stat_object(bucket_name=self.bucket, object_name=key).size == size

        return self._call("stat", lambda: missing_as(False, stat))

    def remove(self, key: str) -> None:
        self._call("delete", lambda: self._remove(key))

    def _remove(self, key: str) -> bool:
        self.client.remove_object(bucket_name=self.bucket, object_name=key)
        return True

    # -- the bucket ----------------------------------------------------------------------------------------------

    def list(self, prefix: str) -> list[str]:
        """Object keys under a prefix, without their time or size."""
        return [each.object_name for each in self._listed(prefix) if each.object_name]

    def stored(self, prefix: str) -> dict[str, Stored]:
        """Every object under a prefix, by key."""
        return {
            each.object_name: Stored(each.size or 0, each.last_modified.timestamp())
            for each in self._listed(prefix)
            if each.object_name and each.last_modified
        }

    def folders(self, prefix: str) -> tuple[str, ...]:
        """What lies one step below a prefix that ends in a slash: prefixes, each ending in one."""
        found = self._call(
            "list", lambda: list(self.client.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=False))
        )
        return tuple(each.object_name for each in found if each.is_dir and each.object_name)

    def _listed(self, prefix: str) -> Iterable[Object]:
        return self._call(
            "list", lambda: list(self.client.list_objects(bucket_name=self.bucket, prefix=prefix, recursive=True))
        )

    def is_reachable(self) -> bool:
        """Whether the bucket answers now; one try, no back-off."""
        try:
            return bool(self.client.bucket_exists(bucket_name=self.bucket))
        except TROUBLE:
            return False

    # -- the request ---------------------------------------------------------------------------------------------

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
        except TROUBLE as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:500]) from None
        raise AssertionError("the retry loop always returns or raises")


def connections(answer_s: float) -> urllib3.PoolManager:
    """`answer_s`: how long one answer may take, seconds; the client retries nothing."""
    return urllib3.PoolManager(timeout=urllib3.Timeout(connect=CONNECT_S, read=answer_s), retries=False, maxsize=8)


def is_transient(error: Exception) -> bool:
    if isinstance(error, S3Error):
        status = getattr(error.response, "status", 0)
        return status >= 500 or status in (409, 429) or error.code in ("SlowDown", "RequestTimeout")
    return isinstance(error, (*TROUBLE, StoreUnavailable))


def missing_as(otherwise: Answer, request: Callable[[], Answer]) -> Answer:
    try:
        return request()
    except S3Error as error:
        if error.code in GONE:
            return otherwise
        raise
