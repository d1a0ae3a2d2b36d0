"""Asking the hub, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studio.engine.hub.address import Kind, endpoint, hub_name, is_offline, page_of
from studio.engine.hub.token import read_token
from studio.files import parse_object
from studio.i18n import tr

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, HfApi, ModelInfo

TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 1 << 22


class HubError(Exception):
    """The hub cannot give what was asked for; the message is half a sentence that says why."""


def is_repository_id(text: str) -> bool:
    """Return whether `text` could be the id of a repository on the hub, such as `owner/name`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def open_api() -> HfApi:
    """Return the hub's own client, for the hub in use and with its token. Raises `HubError` where we are offline."""
    from huggingface_hub import HfApi

    if is_offline():
        raise HubError(tr("HF_HUB_OFFLINE is set"))
    return HfApi(endpoint=endpoint(), token=read_token() or False)


def ask(repository: str, kind: Kind) -> ModelInfo | DatasetInfo:
    """Return what the hub says of a repository and of its files, within seconds.

    Raises:
        HubError: the hub cannot be reached, or has no such repository that is open to us.
    """
    hub = open_api()
    look = hub.model_info if kind == "model" else hub.dataset_info
    with explained(repository, kind):
        return look(repository, timeout=TIMEOUT_SECONDS, files_metadata=True)


def fetch_json(repository: str, name: str) -> dict[str, Any]:
    """Return a small JSON file of a model on the hub. Raises `HubError`."""
    from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(repository, name, endpoint=endpoint())
    headers = build_hf_headers(token=read_token() or False)
    text = bytearray()
    with explained(repository), get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        for piece in response.iter_bytes():
            text += piece
            if len(text) > _MOST_BYTES:
                break
    try:
        return parse_object(bytes(text))
    except ValueError as error:
        words = tr("{file} of {repository} is damaged")
        raise HubError(words.format(file=name, repository=repository)) from error


@contextmanager
def explained(repository: str = "", kind: Kind = "model") -> Iterator[None]:
    """Turn what the hub's client raises in this block into a `HubError` that says what it means."""
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's, by its version

    try:
        yield
    except errors.GatedRepoError as error:
        words = tr("{repository} is gated: accept its terms on {page}, and save the token of that account here")
        raise HubError(words.format(repository=repository, page=page_of(repository, kind))) from error
    except errors.RepositoryNotFoundError as error:
        unknown = tr("there is no public model {repository}")
        if kind == "dataset":
            unknown = tr("there is no public dataset {repository}")
        raise HubError(unknown.format(repository=repository)) from error
    except errors.HfHubHTTPError as error:
        raise HubError(refusal(error.response.status_code)) from error
    except (HTTPError, OSError, ValueError) as error:  # ValueError: an answer that is no JSON, such as a login page
        raise HubError(tr("{hub} cannot be reached").format(hub=hub_name())) from error


def refusal(status: int) -> str:
    """Return half a sentence for an HTTP status with which a hub refuses."""
    if status == 401:
        return tr("{hub} does not accept the token; save a valid one").format(hub=hub_name())
    if status == 403:
        return tr("{hub} does not allow it with this token").format(hub=hub_name())
    if status == 404:
        return tr("{hub} does not have it").format(hub=hub_name())
    if status == 429:
        return tr("{hub} was asked too often; try again in a few minutes").format(hub=hub_name())
    if status >= 500:
        return tr("{hub} has a fault of its own (status {status}); try again later").format(
            hub=hub_name(), status=status
        )
    return tr("{hub} refuses it (status {status})").format(hub=hub_name(), status=status)
