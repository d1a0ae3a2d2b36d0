"""Putting an export on the hub, with its card and its certificate: after it has passed, and private unless asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.engine.export.certificate import FILE_NAME, fingerprint_files, read_certificate
from studio.engine.hub.address import HUGGING_FACE
from studio.engine.hub.api import HubError, explained, is_repository_id, open_api
from studio.engine.hub.token import read_token
from studio.errors import ExportError
from studio.i18n import tr

log = logging.getLogger(__name__)
_CARD = "README.md"


def push_export(folder: Path, repository: str, progress: Progress, *, private: bool = True) -> str:
    """Put the files of an export into a repository of the hub, in one commit; return the address of its page.

    The repository is made where there is none. Nothing but what the certificate lists is sent. The card may have been
    edited since; every other file must be the one that was certified.

    Raises:
        ExportError: the export did not pass, its files have changed, or the hub does not take it.
        Cancelled: by `progress`. Nothing of it is in the repository then.
    """
    certificate = read_certificate(folder)
    if not certificate.passed:
        words = tr("{folder} did not pass its checks, so it is not put on the hub; export the run again.")
        raise ExportError(words.format(folder=folder))
    if not is_repository_id(repository) or "/" not in repository:
        raise ExportError(tr("{text} is not the id of a repository, such as owner/name.").format(text=repository))
    progress("verifying", 0, 0)
    now = fingerprint_files(folder)
    changed = sorted(name for name, print_ in certificate.files.items() if now.get(name) != print_ and name != _CARD)
    if changed:
        words = tr("{files} in {folder} are not the files that were certified; export the run again.")
        raise ExportError(words.format(files=", ".join(changed), folder=folder))
    names = sorted({*certificate.files, FILE_NAME} & {*now, FILE_NAME})
    job = {"folder": str(folder), "repository": repository, "private": private, "names": names}
    try:
        problem = run_in_child(_push, job, progress)
    except ChildFailed as error:
        log.warning("Putting %s on the hub failed: %s", folder, error)
        problem = tr("the line broke, or the hub's client failed; the log has the details")
    if problem:
        words = tr("The export was not put on {hub}: {reason}.")
        raise ExportError(words.format(hub=HUGGING_FACE.spoken(), reason=problem))
    return HUGGING_FACE.page_of(repository)


def _push(job: Mapping[str, Any], progress: Progress) -> str:
    """Work of a child; return "", or half a sentence that says why it failed."""
    from huggingface_hub import CommitOperationAdd

    progress("uploading", 0, 0)
    if read_token() is None:
        return tr("a token that may write is needed; make one on the hub, and keep it here")
    folder, repository = Path(job["folder"]), job["repository"]
    try:
        hub = open_api()
        with explained(repository):
            hub.create_repo(repository, private=job["private"], exist_ok=True)
            public = not hub.model_info(repository).private
            if public and job["private"]:
                return tr("{repository} is there already and is public").format(repository=repository)
            files = [CommitOperationAdd(name, folder / name) for name in job["names"]]
            hub.create_commit(repository, files, commit_message="Export of Finetune Studio")
    except HubError as error:
        return str(error)
    return ""
