"""The access token of a hub. It is kept in the system's keyring, one for each hub, and in no file of ours.

A token that is meant for one hub is never shown to another: a mirror gets the one that was saved for it, or none.
"""

from __future__ import annotations

import logging
import os

from studio.engine.hub.address import HUGGING_FACE, Hub
from studio.errors import ConfigError
from studio.i18n import tr

log = logging.getLogger(__name__)
SERVICE = "Finetune Studio"


def read_token(hub: Hub = HUGGING_FACE) -> str | None:
    """Return the token for a hub at the address where it is asked, or None.

    At its own address that of its environment variable serves as well, and for huggingface.co that of `hf auth login`.
    """
    import keyring
    from keyring.errors import KeyringError

    try:
        saved = keyring.get_password(SERVICE, hub.address())
    except KeyringError as error:
        log.info("The keyring cannot be read: %s", type(error).__name__)
        saved = None
    return saved or (_token_of_the_library(hub) if hub.address() == hub.home else None)


def _token_of_the_library(hub: Hub) -> str | None:
    from huggingface_hub import get_token

    return get_token() if hub == HUGGING_FACE else os.environ.get(hub.token_variable, "").strip() or None


def save_token(token: str, hub: Hub = HUGGING_FACE) -> None:
    """Keep the token for a hub at the address where it is asked; an empty one forgets it.

    Raises:
        ConfigError: there is no keyring.
    """
    import keyring
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        if token:
            keyring.set_password(SERVICE, hub.address(), token)
            return
        try:
            keyring.delete_password(SERVICE, hub.address())
        except PasswordDeleteError:
            return  # there was none
    except KeyringError as error:
        words = tr(
            "This computer has no keyring that can keep the token ({reason}); set the variable {variable} before you "
            "start the program instead."
        )
        raise ConfigError(words.format(reason=type(error).__name__, variable=hub.token_variable)) from error
