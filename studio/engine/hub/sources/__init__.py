"""What is asked of a hub, whichever it is. Searching, downloading and the window know nothing else of it."""

from __future__ import annotations

from typing import Any, Protocol

from studio.engine.control import Progress
from studio.engine.hub.address import HUGGING_FACE, Hub, Kind, hub_of
from studio.engine.hub.repository import Found, Repository
from studio.engine.hub.sources.huggingface import HuggingFace
from studio.engine.hub.sources.modelscope import ModelScope


class Source(Protocol):
    """A hub, as it is asked for models, or for datasets. All but `headers` and `address_of` raise `HubError`."""

    @property
    def hub(self) -> Hub:
        """Which hub is asked."""

    def search(self, words: str, limit: int) -> list[Found]:
        """Return what is found for words, the most downloaded first; for no words, the most downloaded of all."""

    def look(self, repository: str, progress: Progress) -> Repository:
        """Return the revision of a repository that is the newest now, and its files."""

    def address_of(self, repository: str, revision: str, file: str) -> str:
        """Return where a file is received from; a revision "" is the newest one."""

    def headers(self) -> dict[str, str]:
        """Return what a request for a file must carry: the token for this hub, if there is one."""

    def check(self, response: Any, repository: str) -> None:
        """Raise `HubError` for an answer, one of httpx, that is not the file."""


def source_of(kind: Kind) -> Source:
    """Return the hub in use for models, or for datasets."""
    return HuggingFace(kind) if hub_of(kind) == HUGGING_FACE else ModelScope()
