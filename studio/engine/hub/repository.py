"""What a hub says of a repository: in a search, and of its files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.engine.hub.api import HubError
from studio.i18n import tr

_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A repository of a hub, as a search lists it.

    Attributes:
        parameters: number of a model's weights; `bytes`: their size, or that of all files where the number is not
            known; `dtype`: the format of most weights, such as bf16. None and "" where the hub does not say.
        rows: about how many rows a dataset has, in the hub's words, such as 10K<n<100K; "" where it does not say.
        licence: its short name on the hub, such as apache-2.0; "" where it does not say.
        gated: whether its terms have to be accepted first.
        downloads: in the last 30 days on Hugging Face's hub, and of all time on ModelScope.
        updated: the day of the last change, YYYY-MM-DD; "" where it does not say.
    """

    id: str
    parameters: int | None = None
    bytes: int | None = None
    dtype: str = ""
    rows: str = ""
    licence: str = ""
    gated: bool = False
    downloads: int | None = None
    updated: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository, with what the hub says of it.

    Attributes:
        digest: its checksum in hexadecimal digits: SHA-256 of its bytes, or, with 40 digits, SHA-1 as Git takes it.
    """

    name: str
    size: int
    digest: str

    @classmethod
    def told(cls, name: str, size: Any, digest: Any) -> RemoteFile | None:
        """Return what the hub says of a file; None where that is not a size and a checksum."""
        sized = isinstance(size, int) and size >= 0
        return cls(name, size, digest) if sized and isinstance(digest, str) and _DIGEST.fullmatch(digest) else None


@dataclass(frozen=True)
class Repository:
    """A repository at one revision.

    Attributes:
        files: by their names; None for those of which the hub does not say size and checksum.
    """

    id: str
    revision: str
    files: Mapping[str, RemoteFile | None]

    def file(self, name: str) -> RemoteFile:
        """Return a file that can be checked when it has come. Raises `HubError`."""
        found = self.files[name]
        if found is None:
            words = tr("the hub does not say size and checksum of {file} in {repository}")
            raise HubError(words.format(file=name, repository=self.id))
        return found


def tag_of(tags: Iterable[str] | None, name: str) -> str:
    """Return the value of a tag such as license:apache-2.0."""
    return next((value for key, _, value in (tag.partition(":") for tag in tags or ()) if key == name), "")
