"""P-tuning: learn an encoder of the vectors in front of the input (Liu et al. 2021, arXiv 2103.10385), by peft."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Literal

from studio.config.option import option
from studio.engine.methods._peft import encoder_of, import_peft
from studio.engine.methods._virtual_tokens import SoftPrompt, SoftPromptConfig, input_sizes
from studio.engine.methods.base import BytesPerWeight, CustomaryRates
from studio.engine.models.shapes import ModelShapes
from studio.i18n import gettext_noop

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

# Stacked LSTMs, as peft has them by default; each reads in both directions.
_LSTM_LAYERS = 2


class PTuningConfig(SoftPromptConfig):
    """What computes the vectors while they are learnt."""

    name: Literal["p-tuning"] = "p-tuning"
    encoder: Literal["mlp", "lstm"] = option(
        "mlp",
        "Encoder",
        "What computes the vectors while they are learnt. The MLP has three layers and is the quicker; the LSTM "
        "of the paper reads the vectors in both directions, so that each knows of the others, and is far larger.",
        labels={"mlp": gettext_noop("MLP"), "lstm": gettext_noop("LSTM")},
    )
    hidden_size: int | None = option(
        None,
        "Hidden size",
        "h, the width of the encoder. Automatic: that of a word vector. It costs memory in training only.",
        ge=1,
        le=65536,
        advanced=True,
    )


class PTuning(SoftPrompt[PTuningConfig]):
    """Vectors in front of the input that a small network computes while they are learnt."""

    name = "p-tuning"
    title = gettext_noop("P-tuning")
    explanation = gettext_noop(
        "Like prompt tuning, n learnt vectors stand in front of every row, but while they are learnt a small network, "
        "an MLP or an LSTM, computes them: v = f(e). The vectors then move together instead of each alone, which "
        "trains more steadily and at ordinary rates. Only the n·d numbers that come out are saved; the network is for "
        "training. Take it where prompt tuning does not learn."
    )
    order = 50
    config = PTuningConfig
    suggested_learning_rate = 1e-3
    customary_rates = CustomaryRates(
        low=1e-5,
        high=1e-2,
        source=gettext_noop(
            "The paper searches 1e-5 to 1e-4 (Liu et al. 2021); a small network alone, on a frozen model, takes "
            "about 1e-3."
        ),
    )

    def peft_config(self, model: PreTrainedModel, config: PTuningConfig) -> Any:
        sizes = input_sizes(model)
        return import_peft().PromptEncoderConfig(
            num_virtual_tokens=config.virtual_tokens,
            encoder_reparameterization_type=config.encoder.upper(),
            encoder_hidden_size=config.hidden_size or sizes["token_dim"],
            encoder_num_layers=_LSTM_LAYERS,
            **sizes,
        )

    def attach(self, model: PreTrainedModel, config: PTuningConfig) -> nn.Module:
        trained = super().attach(model, config)
        encoder = encoder_of(trained)
        encoder.forward = types.MethodType(_forward_in_fp32, encoder)
        return trained

    def trainable_parameters(self, shapes: ModelShapes, config: PTuningConfig) -> int:
        """The vectors n·d and the encoder over them.

        The MLP is (d·h+h) + (h·h+h) + (h·d+d). The LSTM has, in each of two directions, four gates of h·(inputs + h)
        weights and two biases of h; inputs are d, and 2h in the second layer. A head (2h·2h+2h) + (2h·d+d) follows.
        """
        d = shapes.embedding[1]
        h = config.hidden_size or d
        vectors = config.virtual_tokens * d
        if config.encoder == "mlp":
            return vectors + (d * h + h) + (h * h + h) + (h * d + d)
        inputs = [d] + [2 * h] * (_LSTM_LAYERS - 1)
        lstm = sum(2 * 4 * (h * (size + h) + 2 * h) for size in inputs)
        return vectors + lstm + (2 * h * 2 * h + 2 * h) + (2 * h * d + d)

    def saved_bytes(self, shapes: ModelShapes, config: PTuningConfig, sizes: BytesPerWeight) -> float:
        """n·d numbers: the encoder has done its work when training ends."""
        return sizes.trained * config.virtual_tokens * shapes.embedding[1]


def _forward_in_fp32(encoder: Any, indices: Tensor) -> Tensor:
    """Encode (rows, virtual tokens) indices to (rows, virtual tokens, d) vectors outside autocast.

    n vectors cost nothing, and what is saved, in fp32, is then what was trained.
    """
    import torch

    with torch.autocast(indices.device.type, enabled=False):
        vectors: Tensor = type(encoder).forward(encoder, indices)
    return vectors


METHOD = PTuning()
