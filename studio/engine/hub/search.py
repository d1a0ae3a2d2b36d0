"""Searching a hub by words. It is done in a process of its own: an answer that never comes can be given up."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress
from studio.engine.hub.address import Kind, hub_of
from studio.engine.hub.api import HubError, unreachable
from studio.engine.hub.repository import Found
from studio.engine.hub.sources import source_of

log = logging.getLogger(__name__)
_SECONDS = 30.0


def search(words: str, kind: Kind, limit: int, progress: Progress) -> list[Found]:
    """Return what the hub finds for words, the most downloaded first: of models those that can be trained here.

    These are models that generate text and have safetensors weights.

    Raises:
        HubError: the hub cannot be reached, or refuses.
        Cancelled: by `progress`.
    """
    job = {"words": words, "kind": kind, "limit": limit}
    with Child(_search) as child:
        try:
            answer = child.ask(job, progress, _SECONDS)
        except (TimeoutError, ChildFailed) as error:
            log.warning("%s gave no answer: %s", hub_of(kind).address(), error)
            raise unreachable(hub_of(kind)) from error
    if answer["problem"]:
        raise HubError(answer["problem"])
    return [Found(**one) for one in answer["found"]]


def _search(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Work of a child."""
    progress("asking_hub", 0, 0)
    try:
        found = source_of(job["kind"]).search(job["words"], job["limit"])
    except HubError as error:
        return {"problem": str(error), "found": []}
    return {"problem": "", "found": [dataclasses.asdict(one) for one in found]}
