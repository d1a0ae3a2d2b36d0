"""Section `[model]`: which base model."""

from __future__ import annotations

import os
import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from studio.config.option import REQUIRED, Section, option
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

ModelKind = Literal["auto", "base", "chat"]
ShippedTemplate = Literal["", "chatml", "headings"]

HUBS = ("huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com")
# A model's page: its id and, behind it, what of the branch main was open.
_PAGE = re.compile(r"(?P<id>(?P<first>[\w.-]+?)(/[\w.-]+?)??)(\.git)?(/(tree|blob|resolve|raw)/main(/.*)?)?/*")
_MODELSCOPE_PAGE = re.compile(
    r"(https?://)?(www\.)?modelscope\.(cn|ai)/models/(?P<id>[\w.-]+/[\w.-]+)(/\w*)?([?#].*)?", re.IGNORECASE
)
_NO_MODELS = ("datasets", "spaces", "collections", "papers", "docs", "blog", "models", "organizations", "join")


def plain_model(text: str) -> str:
    """Return a model as it is named elsewhere: a pasted address of the hub as `owner/name`, a path without its quotes.

    An address that is not that of a model, or of another branch than main, or of a hub that is not in use, stays as
    it is.
    """
    text = text.strip(" \t\r\n\u00a0\u200b\ufeff")
    if len(text) > 1 and text[0] + text[-1] in ('""', "''", "``", "<>", "“”"):
        text = text[1:-1].strip()
    if page := _modelscope_page(text):
        return page["id"]
    mirror = urlsplit(os.environ.get("HF_ENDPOINT", "").strip()).netloc
    scheme, _, rest = text.rpartition("://")
    host, slash, path = rest.partition("/")
    if not slash or scheme.lower() not in ("", "http", "https") or host.lower() not in filter(None, (*HUBS, mirror)):
        return text
    page = _PAGE.fullmatch(re.split(r"[?#]", path)[0])
    return page["id"] if page and page["first"] not in _NO_MODELS else text


def _modelscope_page(text: str) -> re.Match[str] | None:
    """Return the match of a model's page on ModelScope where models come from there: an id means one hub's model."""
    in_use = os.environ.get("FINETUNE_STUDIO_HUB", "").strip().lower() == "modelscope"
    return _MODELSCOPE_PAGE.fullmatch(text) if in_use else None


class ModelConfig(Section):
    """Which model to start from, and whether to treat it as a Base or a Chat model."""

    path: str = option(
        REQUIRED, "Model", "A folder in Hugging Face layout (config.json and safetensors files), or a hub id."
    )
    kind: ModelKind = option(
        "auto",
        "Kind",
        "Chat models speak through their own chat template: take one for dialogue. Base models only "
        "continue text: take one for non-dialogue tasks and for formats of your own. "
        "Automatic looks at the template and the special tokens.",
        labels={"auto": gettext_noop("Automatic"), "base": gettext_noop("Base"), "chat": gettext_noop("Chat")},
    )

    chat_template: ShippedTemplate = option(
        "",
        "Chat template",
        "Teaches a Base model to speak: its rows are written in this template, and it learns the token that ends an "
        "answer. Both are stored in the export. ChatML needs tokens that many tokenizers have; Headings needs none.",
        labels={
            "": gettext_noop("As it comes"),
            "chatml": gettext_noop("ChatML"),
            "headings": gettext_noop("Headings"),
        },
    )

    @field_validator("path")
    @classmethod
    def _plain(cls, path: str) -> str:
        return plain_model(path)

    @model_validator(mode="after")
    def _speaks_or_not(self) -> Self:
        if self.chat_template and self.kind == "base":
            words = tr(
                "model.chat_template = {name} is for dialogue, and model.kind = base reads plain text; "
                "take kind chat, or no chat template."
            )
            raise ConfigError(words.format(name=self.chat_template))
        return self
