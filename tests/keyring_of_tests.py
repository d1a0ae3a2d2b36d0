"""A keyring in a file that only tests use, so that a child process finds what a test has saved."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError
from typing_extensions import override

VARIABLE = "STUDIO_TEST_KEYRING"


class Keyring(KeyringBackend):
    priority = 1  # type: ignore[assignment]

    @override
    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service} {username}")

    @override
    def set_password(self, service: str, username: str, password: str) -> None:
        self._write(self._read() | {f"{service} {username}": password})

    @override
    def delete_password(self, service: str, username: str) -> None:
        saved = self._read()
        if saved.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError
        self._write(saved)

    def _read(self) -> dict[str, str]:
        path = Path(os.environ[VARIABLE])
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def _write(self, saved: dict[str, str]) -> None:
        Path(os.environ[VARIABLE]).write_text(json.dumps(saved), encoding="utf-8")
