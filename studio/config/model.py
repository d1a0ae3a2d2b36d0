"""Section `[model]`: which base model."""

from __future__ import annotations

from typing import Literal

from studio.config.option import REQUIRED, Section, option
from studio.i18n import gettext_noop

ModelKind = Literal["auto", "base", "chat"]


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
