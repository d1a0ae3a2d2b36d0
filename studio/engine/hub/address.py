"""The hubs that models come from, which of them is asked, and at which address."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from studio.i18n import gettext_noop, tr

Kind = Literal["model", "dataset"]
_CHOSEN = "FINETUNE_STUDIO_HUB"


@dataclass(frozen=True)
class Hub:
    """A hub, at the address that the user has chosen for it.

    Attributes:
        name: its code; `title`: how people call it, to be translated.
        home: its own address; `variable`: the environment variable that holds another, and `given`: what that held
            when this process began.
        pages: what stands before the id of a repository in the address of its page.
        token_variable: the environment variable with a token for its own address; `token_sign`: how a token begins.
        package: the package that has its client, where that is not one of ours; `module`: what that is imported as.
    """

    name: str
    title: str
    home: str
    variable: str
    given: str
    pages: Mapping[Kind, str]
    token_variable: str
    token_sign: str
    package: str = ""
    module: str = ""

    def use(self, address: str) -> None:
        """Ask it elsewhere from now on, in this process and in those it starts; "": where it was asked at the start."""
        chosen = address or self.given
        if chosen:
            os.environ[self.variable] = chosen
        else:
            os.environ.pop(self.variable, None)  # an empty one would be an address without a name to other libraries

    def given_address(self) -> str:
        """Return where it is asked when the user has chosen no other address."""
        return self.given.strip().rstrip("/") or self.home

    def address(self) -> str:
        """Return where it is asked, without a slash at the end."""
        return os.environ.get(self.variable, "").strip().rstrip("/") or self.home

    def spoken(self) -> str:
        """Return how it is called in sentences."""
        return self.home.removeprefix("https://") if self.address() == self.home else self.address()

    def page_of(self, repository: str, kind: Kind = "model") -> str:
        """Return the address of a repository's page, where its terms can be accepted."""
        return f"{self.address()}/{self.pages[kind]}{repository}"

    def why_not(self) -> str:
        """Return why it cannot be asked, in half a sentence with the command that mends it; "" where it can."""
        if not self.module or find_spec(self.module):
            return ""
        words = tr("the package {package} is not installed; install it with: {command}")
        return words.format(package=self.package, command=f'"{sys.executable}" -m pip install {self.package}')


HUGGING_FACE = Hub(
    name="huggingface",
    title=gettext_noop("Hugging Face"),
    home="https://huggingface.co",
    variable="HF_ENDPOINT",
    given=os.environ.get("HF_ENDPOINT", ""),
    pages={"model": "", "dataset": "datasets/"},
    token_variable="HF_TOKEN",
    token_sign="hf_",
)
MODELSCOPE = Hub(
    name="modelscope",
    title=gettext_noop("ModelScope"),
    home="https://modelscope.cn",
    variable="MODELSCOPE_ENDPOINT",
    given=os.environ.get("MODELSCOPE_ENDPOINT", ""),
    pages={"model": "models/", "dataset": "datasets/"},
    token_variable="MODELSCOPE_API_TOKEN",
    token_sign="ms-",
    package="modelscope-hub",
    module="modelscope_hub",
)
HUBS = {hub.name: hub for hub in (HUGGING_FACE, MODELSCOPE)}


def hub_of(kind: Kind) -> Hub:
    """Return the hub that models, or datasets, come from. Datasets always come from Hugging Face's."""
    chosen = os.environ.get(_CHOSEN, "") if kind == "model" else ""
    return HUBS.get(chosen.strip().lower(), HUGGING_FACE)


def choose_hub(name: str) -> None:
    """Take models from a hub from now on, in this process and in those it starts."""
    os.environ[_CHOSEN] = HUBS[name].name


def is_offline() -> bool:
    """Return whether the user has forbidden to ask a hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")
