"""What is known of a model before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from studio.config import ModelConfig
from studio.config.model import ShippedTemplate
from studio.engine.models.files import model_name
from studio.engine.models.shapes import ModelShapes
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TemplateOffer:
    """A chat template that ships, and what speaks against installing it in a model.

    Attributes:
        missing: tokens that it needs and the tokenizer lacks; then it cannot be installed.
        untaught: tokens that the tokenizer has and the model was, as it seems, never taught.
    """

    name: ShippedTemplate
    missing: tuple[str, ...] = ()
    untaught: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model that can be trained, as its files describe it.

    Attributes:
        kind: whether it is a Base or a Chat model; `reasons` say why.
        problems: warnings, sentences; none of them prevents training.
        architecture: the model class, such as `LlamaForCausalLM`.
        parameters: their number, shared ones counted once; `bytes`: the size of the weights as stored.
        dtype: the format that most weights are stored in: fp32, fp16, bf16 or fp64.
        context_length: the most tokens it was made for, None when it does not say.
        has_template: whether it has a chat template that works.
        eos_token: the token that ends a text, None when there is none.
        chat_template: the name of the template that is installed in place of its own, "" without one.
        offers: the templates that could be installed, the one to be preferred first.
        skeleton: the model without memory for its weights; methods look at it for a place for what they add.
    """

    path: Path
    kind: Literal["base", "chat"]
    reasons: tuple[str, ...]
    problems: tuple[str, ...]
    architecture: str
    parameters: int
    bytes: int
    dtype: str
    context_length: int | None
    has_template: bool
    eos_token: str | None
    shapes: ModelShapes
    chat_template: ShippedTemplate = ""
    offers: tuple[TemplateOffer, ...] = ()
    skeleton: PreTrainedModel | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """How the model is called: the name of its folder, or its id in the hub's cache."""
        return model_name(self.path)

    @property
    def recommended_template(self) -> ShippedTemplate:
        """The template to install for dialogue; "" where none can be."""
        possible = [offer for offer in self.offers if not offer.missing]
        return next((offer.name for offer in [*(o for o in possible if not o.untaught), *possible]), "")


def treated_as(info: ModelInfo, config: ModelConfig) -> ModelInfo:
    """Return a model as it was chosen to be treated: its kind, and the chat template that is installed."""
    if config.chat_template:
        return replace(info, kind="chat", has_template=True, chat_template=config.chat_template)
    return info if config.kind == "auto" else replace(info, kind=config.kind)


def as_configured(info: ModelInfo, config: ModelConfig) -> ModelInfo:
    """Return a model as a run treats it.

    Raises:
        ModelError: it is to be a Chat model and has no template that works.
    """
    treated = treated_as(info, config)
    if treated.kind == "chat" and not treated.has_template:
        words = tr(
            "{model} cannot be trained as a Chat model: it has no chat template that works; install one "
            "(model.chat_template), or train it as a Base model."
        )
        raise ModelError(words.format(model=info.name))
    return treated
