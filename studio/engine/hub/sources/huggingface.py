"""Hugging Face's hub, a mirror of it, or a hub of its kind."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from studio.engine.control import Progress
from studio.engine.dtypes import SAFETENSORS_NAMES
from studio.engine.hub.address import HUGGING_FACE, Hub, Kind
from studio.engine.hub.api import TIMEOUT_SECONDS, explained, open_api
from studio.engine.hub.repository import Found, RemoteFile, Repository, tag_of
from studio.engine.hub.token import read_token

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo

_TASK, _FORMAT = "text-generation", "safetensors"
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True)
class HuggingFace:
    """See `Source`."""

    kind: Kind
    hub: ClassVar[Hub] = HUGGING_FACE

    def search(self, words: str, limit: int) -> list[Found]:
        asked: dict[str, Any] = {"search": words or None, "sort": "downloads", "limit": limit}
        expand: list[Any] = ["downloads", "gated", "lastModified", "tags"]
        hub = open_api()
        with explained():
            if self.kind == "dataset":
                return [_dataset(one) for one in hub.list_datasets(**asked, expand=expand)]
            expand += ["safetensors"]
            models = hub.list_models(**asked, pipeline_tag=_TASK, filter=_FORMAT, expand=expand)
            return [_model(one) for one in models]

    def look(self, repository: str, progress: Progress) -> Repository:
        progress("asking_hub", 0, 0)
        hub = open_api()
        look = hub.model_info if self.kind == "model" else hub.dataset_info
        with explained(repository, self.kind):
            info = look(repository, timeout=TIMEOUT_SECONDS, files_metadata=True)
        files = {one.rfilename: _file(one) for one in info.siblings or ()}
        return Repository(info.id, info.sha or "main", files)

    def address_of(self, repository: str, revision: str, file: str) -> str:
        from huggingface_hub import hf_hub_url

        endpoint = self.hub.address()
        return hf_hub_url(repository, file, repo_type=self.kind, revision=revision or None, endpoint=endpoint)

    def headers(self) -> dict[str, str]:
        from huggingface_hub.utils._headers import build_hf_headers

        return build_hf_headers(token=read_token() or False)

    def check(self, response: Any, repository: str) -> None:
        from huggingface_hub import hf_raise_for_status

        with explained(repository, self.kind):
            hf_raise_for_status(response)


def _file(sibling: Any) -> RemoteFile | None:
    large = sibling.lfs  # those in LFS have a SHA-256
    size, digest = (large.size, large.sha256) if large else (sibling.size, sibling.blob_id)
    return RemoteFile.told(sibling.rfilename, size, digest)


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
    return dataclasses.replace(_common(info), rows=tag_of(info.tags, "size_categories"))


def _common(info: ModelInfo | DatasetInfo) -> Found:
    changed = info.last_modified
    return Found(
        id=info.id,
        licence=tag_of(info.tags, "license"),
        gated=bool(info.gated),
        downloads=info.downloads,
        updated=changed.date().isoformat() if changed else "",
    )
