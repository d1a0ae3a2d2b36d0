"""The access token of the hub. It is kept in the system's keyring, one for each hub, and in no file of ours.

A token that is meant for one hub is never shown to another: a mirror gets the one that was saved for it, or none.
"""

from __future__ import annotations

import logging

from studio.engine.hub.address import DEFAULT, endpoint
from studio.errors import ConfigError
from studio.i18n import tr

log = logging.getLogger(__name__)
SERVICE = "Finetune Studio"


def read_token() -> str | None:
    """Return the token for the hub in use, or None.

    For huggingface.co itself, that of `HF_TOKEN` or of `hf auth login` serves as well.
    """
    import keyring
    from huggingface_hub import get_token
    from keyring.errors import KeyringError

    hub = endpoint()
    try:
        saved = keyring.get_password(SERVICE, hub)
    except KeyringError as error:
        log.info("The keyring cannot be read: %s", type(error).__name__)
        saved = None
    return saved or (get_token() if hub == DEFAULT else None)


def save_token(token: str) -> None:
    """Keep the token for the hub in use; an empty one forgets it. Raises `ConfigError` where there is no keyring."""
    import keyring
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        if token:
            keyring.set_password(SERVICE, endpoint(), token)
            return
        try:
            keyring.delete_password(SERVICE, endpoint())
        except PasswordDeleteError:
            return  # there was none
    except KeyringError as error:
        words = tr(
            "This computer has no keyring that can keep the token ({reason}); set the variable HF_TOKEN before you "
            "start the program instead."
        )
        raise ConfigError(words.format(reason=type(error).__name__)) from error
