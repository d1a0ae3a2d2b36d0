from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from tests import keyring_of_tests


@pytest.fixture
def keyring_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A keyring for the test and the processes that it starts."""
    import keyring

    before = keyring.get_keyring()  # chosen by the variable that is changed below
    file = tmp_path / "keyring.json"
    monkeypatch.setenv(keyring_of_tests.VARIABLE, str(file))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.keyring_of_tests.Keyring")
    keyring.set_keyring(keyring_of_tests.Keyring())
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_of_the_library")
    yield file
    keyring.set_keyring(before)
