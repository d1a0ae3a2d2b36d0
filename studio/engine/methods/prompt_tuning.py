"""Prompt tuning: learn vectors in front of the input (Lester et al. 2021, arXiv 2104.08691), carried by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from studio.config.option import option
from studio.engine.methods._peft import encoder_of, import_peft
from studio.engine.methods._virtual_tokens import (
    SoftPrompt,
    SoftPromptConfig,
    common_tokens,
    input_sizes,
    tokens_of,
    word_vectors,
)
from studio.engine.methods.base import CustomaryRates
from studio.engine.models.shapes import ModelShapes
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


class PromptTuningConfig(SoftPromptConfig):
    """Where the vectors start."""

    name: Literal["prompt-tuning"] = "prompt-tuning"
    init: Literal["random", "vocabulary", "text"] = option(
        "vocabulary",
        "Initialisation",
        "Vocabulary starts at common words of the model, text at the words of a text that says what is asked, and "
        "random at noise of the size of words. Words learn faster, most of all in small models.",
        labels={
            "random": gettext_noop("Random"),
            "vocabulary": gettext_noop("Vocabulary"),
            "text": gettext_noop("Text"),
        },
    )
    init_text: str = option(
        "",
        "Text to start at",
        "Only for Initialisation = Text: an instruction, cut or repeated to the number of virtual tokens.",
        when=("init", "text"),
    )

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if self.init == "text" and not self.init_text:
            raise ConfigError(
                tr("method.init_text is required with method.init = text; write what the model is to do.")
            )
        return self


class PromptTuning(SoftPrompt[PromptTuningConfig]):
    """Learnt vectors in front of the input."""

    name = "prompt-tuning"
    title = gettext_noop("Prompt tuning")
    explanation = gettext_noop(
        "The model stays as it is; n learnt vectors of the size of a word, n·d numbers in all, stand in front of every "
        "row, as a prompt that no words could spell. The smallest patch there is, tens of KB, and nothing inside "
        "the model changes, so it forgets least. It learns less than LoRA, slowly and at high rates, and best in large "
        "models. Take it for many small tasks of one model, or where the result has to run in any program: the vectors "
        "can be built in as tokens."
    )
    order = 40
    config = PromptTuningConfig
    suggested_learning_rate = 3e-2
    customary_rates = CustomaryRates(
        low=1e-3,
        high=0.3,
        source=gettext_noop(
            "The paper takes 0.3 with Adafactor (Lester et al. 2021); with AdamW, 1e-3 to 1e-1 is customary."
        ),
    )

    def peft_config(self, model: PreTrainedModel, config: PromptTuningConfig) -> Any:
        return import_peft().PromptTuningConfig(num_virtual_tokens=config.virtual_tokens, **input_sizes(model))

    def attach(self, model: PreTrainedModel, config: PromptTuningConfig) -> nn.Module:
        start = _start(model, config)
        trained = super().attach(model, config)
        encoder_of(trained).embedding.weight.data.copy_(start)
        return trained

    def trainable_parameters(self, shapes: ModelShapes, config: PromptTuningConfig) -> int:
        """n·d."""
        return config.virtual_tokens * shapes.embedding[1]


def _start(model: PreTrainedModel, config: PromptTuningConfig) -> Tensor:
    """Return the vectors to start at, (virtual tokens, d), fp32."""
    import torch

    count = config.virtual_tokens
    if config.init == "text":
        return word_vectors(model, tokens_of(config.init_text, model, count))
    words = word_vectors(model, common_tokens(model, count))
    return words if config.init == "vocabulary" else torch.randn_like(words) * words.std()


METHOD = PromptTuning()
