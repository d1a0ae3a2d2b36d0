"""Searching the hub by words. It is done in a process of its own: an answer that never comes can be given up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress
from studio.engine.dtypes import SAFETENSORS_NAMES
from studio.engine.hub.address import Kind, hub_name
from studio.engine.hub.api import HubError, explained, open_api
from studio.i18n import tr

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo

_TASK, _FORMAT = "text-generation", "safetensors"
_SECONDS = 30.0
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A repository of the hub, as a search lists it.

    Attributes:
        parameters: number of a model's weights; `bytes`: their size; `dtype`: the format of most of them, such as bf16.
            None and "" where the hub does not say.
        rows: about how many rows a dataset has, in the hub's words, such as 10K<n<100K; "" where it does not say.
        licence: its short name on the hub, such as apache-2.0; "" where it does not say.
        gated: whether its terms have to be accepted first.
        downloads: in the last 30 days.
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
            raise HubError(tr("{hub} cannot be reached").format(hub=hub_name())) from error
    if answer["problem"]:
        raise HubError(answer["problem"])
    return [Found(**one) for one in answer["found"]]


def _search(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Work of a child."""
    progress("asking_hub", 0, 0)
    found: list[Found] = []
    try:
        hub = open_api()
        with explained():
            if job["kind"] == "model":
                models = hub.list_models(
                    search=job["words"] or None,
                    pipeline_tag=_TASK,
                    filter=_FORMAT,
                    sort="downloads",
                    limit=job["limit"],
                    expand=["downloads", "gated", "lastModified", "safetensors", "tags"],
                )
                found = [_model(one) for one in models]
            else:
                datasets = hub.list_datasets(
                    search=job["words"] or None,
                    sort="downloads",
                    limit=job["limit"],
                    expand=["downloads", "gated", "lastModified", "tags"],
                )
                found = [_dataset(one) for one in datasets]
    except HubError as error:
        return {"problem": str(error), "found": []}
    return {"problem": "", "found": [dataclasses.asdict(one) for one in found]}


def _model(info: ModelInfo) -> Found:
    stored = info.safetensors
    counts: Counter[str] = Counter(stored.parameters if stored else {})
    return dataclasses.replace(
        _common(info),
        parameters=stored.total if stored else None,
        bytes=sum(_WIDTHS.get(name, 1) * count for name, count in counts.items()) or None,
        dtype=SAFETENSORS_NAMES.get(counts.most_common(1)[0][0], "") if counts else "",
    )


def _dataset(info: DatasetInfo) -> Found:
    return dataclasses.replace(_common(info), rows=_tag(info.tags, "size_categories"))


def _common(info: ModelInfo | DatasetInfo) -> Found:
    changed = info.last_modified
    return Found(
        id=info.id,
        licence=_tag(info.tags, "license"),
        gated=bool(info.gated),
        downloads=info.downloads,
        updated=changed.date().isoformat() if changed else "",
    )


def _tag(tags: Iterable[str] | None, name: str) -> str:
    """Return the value of a tag such as license:apache-2.0."""
    return next((value for key, _, value in (tag.partition(":") for tag in tags or ()) if key == name), "")
