"""Prefix tuning: learn keys and values for every layer (Li & Liang 2021, arXiv 2101.00190), carried by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods._peft import PeftMethod, encoder_of, import_peft
from studio.engine.methods._virtual_tokens import (
    common_tokens,
    input_sizes,
    keys_and_values,
    sizes_of_keys_and_values,
)
from studio.engine.methods.base import CustomaryRates
from studio.engine.models.shapes import ModelShapes
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class PrefixTuningConfig(MethodConfig):
    """How many positions, which are in the cache alone."""

    name: Literal["prefix-tuning"] = "prefix-tuning"
    virtual_tokens: int = option(
        20,
        "Virtual tokens",
        "n, the learnt positions that attention finds in front of every row, in each layer. 10 to 200 is "
        "customary; they cost attention, not another pass through the layers.",
        unit=gettext_noop("tokens"),
        ge=1,
        le=4096,
    )


class PrefixTuning(PeftMethod[PrefixTuningConfig]):
    """Learnt keys and values in front of every row, in each layer."""

    name = "prefix-tuning"
    title = gettext_noop("Prefix tuning")
    explanation = gettext_noop(
        "In every layer, attention finds n learnt positions in front of the row: keys and values [P_k; K], [P_v; V] in "
        "place of K, V, which is n · 2 · layers · d_kv numbers in all. It reaches into each layer, so it learns more "
        "than vectors in front of the input do. Nothing of it can be merged or turned into tokens. Take it where "
        "prompt tuning is too weak and the weights must not change."
    )
    order = 60
    config = PrefixTuningConfig
    cost_in_use = gettext_noop(
        "The learnt positions fill the cache and are attended to at every token; PEFT has to be there."
    )
    suggested_learning_rate = 3e-2
    customary_rates = CustomaryRates(
        low=5e-5,
        high=5e-2,
        source=gettext_noop(
            "The paper takes 5e-5 through a network (Li & Liang 2021); learnt directly, as here, 5e-3 to 3e-2 is "
            "customary (Liu et al. 2022)."
        ),
    )

    def peft_config(self, model: PreTrainedModel, config: PrefixTuningConfig) -> Any:
        return import_peft().PrefixTuningConfig(
            num_virtual_tokens=config.virtual_tokens,
            **(input_sizes(model) | {"token_dim": model.config.get_text_config().hidden_size}),
        )

    def refuse(self, skeleton: PreTrainedModel, config: PrefixTuningConfig) -> str:
        from studio.engine.models.structure import attends

        settings = skeleton.config.get_text_config()
        if not attends(skeleton):
            return tr(
                "Not every layer of this model keeps keys and values, so a learnt prefix has no place in it; take LoRA."
            )
        latent = getattr(settings, "kv_lora_rank", None)  # of DeepSeek: keys are longer than values
        kept = sizes_of_keys_and_values(skeleton)
        wanted = encoder_of(super().attach(skeleton, config)).embedding.weight.shape[1]
        if latent or (kept and (len(set(kept)) > 1 or sum(heads * size for heads, size in kept) != wanted)):
            return tr(
                "The layers of this model keep keys and values in a layout that PEFT has no prefix for; take LoRA."
            )
        return ""

    def attach(self, model: PreTrainedModel, config: PrefixTuningConfig) -> nn.Module:
        """The prefix starts at the keys and values of common words, so that training starts near the base."""
        start = keys_and_values(model, common_tokens(model, config.virtual_tokens))
        trained = super().attach(model, config)
        encoder_of(trained).embedding.weight.data.copy_(start)

        class Unrounded(type(trained)):  # type: ignore[misc]
            base_model_torch_dtype = None  # the embedding's, to which peft would round the prefix

        trained.__class__ = Unrounded
        return trained

    def positions(self, config: PrefixTuningConfig) -> int:
        """They are in the cache alone: the output has as many positions as the input, so `virtual_tokens` is 0."""
        return config.virtual_tokens

    def trainable_parameters(self, shapes: ModelShapes, config: PrefixTuningConfig) -> int:
        """n · 2 · layers · d_kv, with d_kv the numbers in the keys of one position."""
        return config.virtual_tokens * 2 * shapes.layers * shapes.key_width


METHOD = PrefixTuning()
