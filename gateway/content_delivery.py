"""Finished files to clients: by a signed link to the store, or through the gateway a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from minio import Minio
from minio.error import S3Error

from gateway.byte_ranges import Span
from gateway.problems import Problem, away
from runtime.settings import Settings
from schemas.events.artifacts import ObjectRef
from stages.storage.artifacts import ArtifactStore
from stages.storage.object_store import GONE, TROUBLE

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

LINK_LIVES = timedelta(minutes=30)
PIECE = 256 * 1024
LARGEST_SMALL = 4 * 1024 * 1024
CACHE = "private, max-age=300"


@dataclass(frozen=True)
class Delivery:
    """`public` signs for the address under which clients reach the store; signing asks nobody."""

    store: ArtifactStore
    public: Minio

    @classmethod
    def of(cls, settings: Settings) -> Delivery:
        def store(endpoint: str) -> ArtifactStore:
            return ArtifactStore.connect(
                endpoint, settings.store_access_key, settings.store_secret_key.get_secret_value(),
                settings.store_bucket, secure=settings.store_secure, region=settings.store_region,
            )  # fmt: skip

        return cls(
            store(settings.store_endpoint), store(settings.store_public_endpoint or settings.store_endpoint).client
        )

    def link(self, ref: ObjectRef, filename: str) -> str:
        """Good for half an hour, by GET alone: a signature covers the method."""
        return self.public.presigned_get_object(
            bucket_name=self.store.bucket, object_name=ref.key, expires=LINK_LIVES,
            response_headers={
                "response-content-type": ref.media_type, "response-cache-control": CACHE,
                "response-content-disposition": disposition(filename),
            },
        )  # fmt: skip

    def read(self, ref: ObjectRef, span: Span | None) -> Iterator[bytes]:
        """The bytes in pieces. Raises `Problem` before the first one."""
        offset, length = (span.first, span.length) if span else (0, 0)
        return pieces(self._open(ref.key, offset, length))

    def whole(self, key: str) -> bytes:
        """A small object as it is now. Raises `Problem`."""
        answer = self._open(key, 0, LARGEST_SMALL)
        try:
            return answer.read()
        except TROUBLE:
            raise away("the store") from None
        finally:
            answer.close()
            answer.release_conn()

    def _open(self, key: str, offset: int, length: int) -> BaseHTTPResponse:
        """Raises `Problem`."""
        try:
            return self.store.client.get_object(
                bucket_name=self.store.bucket, object_name=key, offset=offset, length=length
            )
        except S3Error as error:
            if error.code in GONE:
                raise Problem("content_lost", "the store has lost this file", "video_id") from None
            raise away("the store") from None
        except TROUBLE:
            raise away("the store") from None


def pieces(answer: BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from answer.stream(PIECE)
    finally:
        answer.close()
        answer.release_conn()


def disposition(filename: str) -> str:
    return f'inline; filename="{filename}"'
