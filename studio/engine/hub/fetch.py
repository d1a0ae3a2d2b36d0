"""A small file of a model, read without downloading the model."""

from __future__ import annotations

from typing import Any

from studio.engine.hub.api import TIMEOUT_SECONDS, HubError, explained
from studio.engine.hub.sources import source_of
from studio.files import parse_object
from studio.i18n import tr

_MOST_BYTES = 1 << 22


def fetch_json(repository: str, name: str) -> dict[str, Any]:
    """Return a small JSON file of a model on the hub. Raises `HubError`."""
    from huggingface_hub import get_session

    source = source_of("model")
    url, headers = source.address_of(repository, "", name), source.headers()
    text = bytearray()
    with (
        explained(repository, hub=source.hub),
        get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as response,
    ):
        if response.is_error:
            response.read()
        source.check(response, repository)
        for piece in response.iter_bytes():
            text += piece
            if len(text) > _MOST_BYTES:
                break
    try:
        return parse_object(bytes(text))
    except ValueError as error:
        words = tr("{file} of {repository} is damaged")
        raise HubError(words.format(file=name, repository=repository)) from error
