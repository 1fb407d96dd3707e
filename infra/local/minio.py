"""Real MinIO on one node."""

from __future__ import annotations

import secrets
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from infra.local.minio_binary import minio_binary
from infra.local.owner_only import write_private
from infra.local.ports import HOST, wait_until
from infra.local.process import Process, tail


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str

    @classmethod
    def of(cls, file: Path) -> Credentials:
        """The credentials of a stack, drawn once and kept where only its owner reads them."""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_private(file, f"latentline\n{secrets.token_urlsafe(24)}\n".encode())
        access_key, secret_key = file.read_text().split()
        return cls(access_key, secret_key)


class MinioServer:
    def __init__(
        self, data: Path, log: Path, mark: str, port: int, console_port: int, credentials: Credentials
    ) -> None:
        self.data, self.port, self.credentials = data, port, credentials
        argv = [
            str(minio_binary()), "server", str(data), "--quiet",
            "--address", f"{HOST}:{port}", "--console-address", f"{HOST}:{console_port}",
        ]  # fmt: skip
        environment = {
            "MINIO_ROOT_USER": credentials.access_key,
            "MINIO_ROOT_PASSWORD": credentials.secret_key,
            # It makes a folder for certificates in its home.
            "HOME": str(data.parent),
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
        }
        self.process = Process("minio", argv, log, mark, environment)

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)

    def is_live(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/minio/health/live", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self, seconds: float = 60.0) -> None:
        """Until it serves. Raises `RuntimeError` with the end of its log."""
        if not wait_until(lambda: self.is_live() or not self.process.is_running, seconds) or not self.is_live():
            raise RuntimeError(f"MinIO did not start within {seconds:.0f} s:\n{tail(self.process.log)}")
