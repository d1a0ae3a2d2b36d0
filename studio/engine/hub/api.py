"""Asking Hugging Face's hub, and what the refusals of a hub mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studio.engine.hub.address import HUGGING_FACE, Hub, Kind, is_offline
from studio.engine.hub.token import read_token
from studio.i18n import tr

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_SECONDS = 10.0


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
    """Return the client of Hugging Face's hub, with the token for it. Raises `HubError` where we are offline."""
    from huggingface_hub import HfApi

    refuse_offline()
    return HfApi(endpoint=HUGGING_FACE.address(), token=read_token() or False)


def refuse_offline() -> None:
    """Raise `HubError` where the user has forbidden to ask a hub."""
    if is_offline():
        raise HubError(tr("HF_HUB_OFFLINE is set"))


@contextmanager
def explained(repository: str = "", kind: Kind = "model", hub: Hub = HUGGING_FACE) -> Iterator[None]:
    """Turn what the client of Hugging Face raises in this block into a `HubError` that says what it means.

    Files of another hub come through the same client, and so do its lost lines.
    """
    from huggingface_hub import errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's, by its version

    try:
        yield
    except errors.GatedRepoError as error:
        words = tr("{repository} is gated: accept its terms on {page}, and save the token of that account here")
        raise HubError(words.format(repository=repository, page=hub.page_of(repository, kind))) from error
    except errors.RepositoryNotFoundError as error:
        raise unknown(repository, kind) from error
    except errors.HfHubHTTPError as error:
        raise HubError(refusal(error.response.status_code, hub)) from error
    except (HTTPError, OSError, ValueError) as error:  # ValueError: an answer that is no JSON, such as a login page
        raise unreachable(hub) from error


def unknown(repository: str, kind: Kind) -> HubError:
    """Return the error that there is no such repository."""
    words = tr("there is no public model {repository}")
    if kind == "dataset":
        words = tr("there is no public dataset {repository}")
    return HubError(words.format(repository=repository))


def unreachable(hub: Hub) -> HubError:
    """Return the error that a hub does not answer, or not as a hub."""
    return HubError(tr("{hub} cannot be reached").format(hub=hub.spoken()))


def refusal(status: int, hub: Hub) -> str:
    """Return half a sentence for an HTTP status with which a hub refuses."""
    if status == 401:
        return tr("{hub} does not accept the token; save a valid one").format(hub=hub.spoken())
    if status == 403:
        return tr("{hub} does not allow it with this token").format(hub=hub.spoken())
    if status == 404:
        return tr("{hub} does not have it").format(hub=hub.spoken())
    if status == 429:
        return tr("{hub} was asked too often; try again in a few minutes").format(hub=hub.spoken())
    if status >= 500:
        return tr("{hub} has a fault of its own (status {status}); try again later").format(
            hub=hub.spoken(), status=status
        )
    return tr("{hub} refuses it (status {status})").format(hub=hub.spoken(), status=status)
