"""Which hub is in use."""

from __future__ import annotations

import os
from typing import Literal

Kind = Literal["model", "dataset"]
DEFAULT = "https://huggingface.co"
_GIVEN = os.environ.get("HF_ENDPOINT", "")


def choose_hub(address: str) -> None:
    """Ask another hub from now on, in this process and in those it starts; "": the one that was there at the start."""
    chosen = address or _GIVEN
    if chosen:
        os.environ["HF_ENDPOINT"] = chosen
    else:
        os.environ.pop("HF_ENDPOINT", None)  # an empty one would be an address without a name to other libraries


def given_hub() -> str:
    """Return the address of the hub that is asked where the user has chosen no other."""
    return _GIVEN.strip().rstrip("/") or DEFAULT


def endpoint() -> str:
    """Return the address of the hub in use, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or DEFAULT


def hub_name() -> str:
    """Return how the hub in use is called in sentences."""
    return DEFAULT.removeprefix("https://") if endpoint() == DEFAULT else endpoint()


def page_of(repository: str, kind: Kind = "model") -> str:
    """Return the address of a repository's page, where its terms can be accepted."""
    return f"{endpoint()}/{'datasets/' * (kind == 'dataset')}{repository}"


def is_offline() -> bool:
    """Return whether the user has forbidden to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")
