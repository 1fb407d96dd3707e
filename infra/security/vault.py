"""Secrets of a secure line: drawn once, each in a file that only its owner reads, a folder for each principal.

The files are named as the variables that they stand for, so a process is handed its folder (`LATENTLINE_SECRETS_DIR`)
and no secret; in containers the same files are mounted secrets.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from infra.local.owner_only import FOLDER_MODE, write_private

RANDOM_BYTES = 24
"""As text 32 characters: MinIO takes 40 at most."""
SHARED = "shared"
"""Folder of secrets that several principals hold; no process is handed it."""


@dataclass(frozen=True)
class Vault:
    folder: Path

    def of(self, principal: str) -> Path:
        """The folder of one principal."""
        folder = self.folder / principal
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        return folder

    def file(self, principal: str, setting: str) -> Path:
        """Where that secret is, once it was drawn."""
        return self.of(principal) / f"latentline_{setting}"

    def secret(self, principal: str, setting: str) -> SecretStr:
        """What that setting of this principal is; drawn when it is first asked for."""
        file = self.file(principal, setting)
        if not file.exists():
            write_private(file, secrets.token_urlsafe(RANDOM_BYTES).encode())
        return SecretStr(file.read_text())

    def shared(self, principal: str, setting: str) -> SecretStr:
        """The same for each principal that asks for it."""
        one = self.secret(SHARED, setting)
        write_private(self.file(principal, setting), one.get_secret_value().encode())
        return one
