"""LoRA: learn a low-rank change of the weights (Hu et al. 2021, arXiv 2106.09685), carried by peft."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator
from typing_extensions import override

from studio.config.method import MethodConfig
from studio.config.option import Usual, option
from studio.engine.methods import _pissa
from studio.engine.methods._peft import PeftMethod, import_peft, is_transposed
from studio.engine.methods._targets import (
    ALL_LINEAR,
    ATTENTION_ONLY,
    LINEAR_LAYERS,
    TargetModules,
    attention_only,
    named,
    short_names,
)
from studio.engine.methods.base import BytesPerWeight, CustomaryRates
from studio.engine.models.activations import ActivationBytes, BytesPerActivation, input_bytes
from studio.engine.models.shapes import LinearShape, ModelShapes
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_RATIO = gettext_noop(
    "A larger one acts like a higher learning rate and may diverge; a smaller one lets the change hardly count."
)


class LoraConfig(MethodConfig):
    """ΔW = B·A, scaled by alpha / rank."""

    name: Literal["lora"] = "lora"
    rank: int = option(
        16,
        "Rank",
        "r, the inner size of B·A. 4 to 32 is customary; a larger one can learn more and weighs more.",
        ge=1,
        le=4096,
        offers=(4, 8, 16, 32),
        usual=Usual(
            low=2,
            high=128,
            why=gettext_noop(
                "A change of rank 1 has room for little; a very large one weighs more, learns hardly more, and is "
                "unsteady unless it is rank-stabilised (Kalajdzievski 2023)."
            ),
        ),
    )
    alpha: float | None = option(
        None,
        "Alpha",
        "The change is scaled by alpha / rank. Automatic: twice the rank, whatever that is.",
        gt=0.0,
        le=1e6,
    )
    dropout: float = option(
        0.05,
        "Dropout",
        "Share of the inputs of A that are zeroed at random in training, against memorising.",
        ge=0.0,
        lt=1.0,
        usual=Usual(
            low=0.0,
            high=0.3,
            why=gettext_noop("More blanks so much of the inputs that learning becomes slow and noisy."),
        ),
    )
    target_modules: TargetModules = option(
        (ALL_LINEAR,),
        "Where",
        "Every linear layer but the output learns best for its size; those of attention alone are a third as many "
        "numbers to learn.",
        labels={ALL_LINEAR: gettext_noop("All linear layers"), ATTENTION_ONLY: gettext_noop("Attention only")},
        suggestions=LINEAR_LAYERS,
    )
    experts: bool = option(
        False,
        "Experts too",
        "In a mixture of experts, learn a change of every expert as well: rank times the number of experts, without "
        "dropout, and slower. Off, attention and what all tokens pass through are adapted, which is mostly enough.",
        advanced=True,
    )
    rslora: bool = option(
        False,
        "Rank-stabilised (rsLoRA)",
        "Scale by alpha / √rank, so that large ranks learn as fast as small ones (Kalajdzievski 2023).",
        advanced=True,
    )
    dora: bool = option(
        False,
        "Weight-decomposed (DoRA)",
        "Also learn each output's length apart from its direction (Liu et al. 2024). Better at small ranks, slower.",
        advanced=True,
    )
    init: Literal["kaiming", "gaussian", "pissa"] = option(
        "kaiming",
        "Initialisation",
        "Kaiming and Gaussian are random values for A; B starts at zero, so training starts at the base. PiSSA "
        "starts A and B at the principal components of the weights (Meng et al. 2024), which learns faster; it "
        "needs a base that is not quantised, goes without dropout, and is saved as a LoRA of twice the rank.",
        labels={
            "kaiming": gettext_noop("Kaiming uniform"),
            "gaussian": gettext_noop("Gaussian"),
            "pissa": gettext_noop("PiSSA"),
        },
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _no_dropout_by_default(cls, values: Any) -> Any:
        """What dropout would blank in PiSSA is the base itself, not a small change of it; PEFT has none for experts."""
        if isinstance(values, dict) and (values.get("init") == "pissa" or values.get("experts") is True):
            return {"dropout": 0.0} | values
        return values

    @field_validator("init")
    @classmethod
    def _without_dropout(cls, init: str, info: ValidationInfo) -> str:
        if init == "pissa" and info.data.get("dropout"):
            raise ValueError(tr("dropout would blank parts of the base itself; set method.dropout = 0"))
        return init

    @model_validator(mode="after")
    def _experts_alone(self) -> Self:
        if self.experts and (self.dropout or self.dora or self.init == "pissa"):
            raise ValueError(tr("experts go without dropout, DoRA and PiSSA; set method.dropout = 0"))
        return self

    @override
    def automatic(self) -> dict[str, Any]:
        return {"alpha": 2.0 * self.rank}

    @property
    def alpha_in_force(self) -> float:
        """Alpha, or twice the rank where it is not set."""
        return self.alpha if self.alpha is not None else float(self.automatic()["alpha"])

    @override
    def unusual(self) -> dict[str, str]:
        found = super().unusual()
        if self.alpha is not None and not self.rslora:
            ratio = Usual(low=0.5, high=4.0, why=_RATIO).judge(self.alpha / self.rank)
            found |= {"alpha": tr("Alpha / rank: {judgement}").format(judgement=ratio)} if ratio else {}
        return found

    @override
    def check_storage(self, base_dtype: str) -> None:
        if self.init == "pissa" and base_dtype in ("int8", "nf4"):
            raise ConfigError(
                tr(
                    "method.init = pissa: what it leaves of a base in {base} cannot be stored in {base}; "
                    "take precision.base_dtype = auto, or method.init = kaiming."
                ).format(base=base_dtype)
            )


class Lora(PeftMethod[LoraConfig]):
    """y = W·x + s·B·A·x, with s = alpha / rank, or alpha / √rank with rsLoRA."""

    name = "lora"
    title = gettext_noop("LoRA")
    explanation = gettext_noop(
        "The base stays frozen; beside each linear layer a low-rank change ΔW = B·A is learnt, scaled by alpha / rank. "
        "Only B and A are trained: a patch of megabytes for each task, which can be swapped, or merged into the "
        "weights so that it costs no latency. Start here."
    )
    order = 10
    config = LoraConfig
    mergeable = True
    cost_in_use = gettext_noop("Nothing once merged; unmerged, two small products beside every adapted layer.")
    suggested_learning_rate = 2e-4
    customary_rates = CustomaryRates(
        low=2e-5,
        high=1e-3,
        source=gettext_noop(
            "It was published with 2e-4 to 5e-4 (Hu et al. 2021), on quantised bases with 1e-4 to 2e-4 (Dettmers et "
            "al. 2023); about ten times what suits full fine-tuning."
        ),
    )

    def peft_config(self, model: PreTrainedModel, config: LoraConfig) -> Any:
        from studio.engine.models.structure import expert_weights, linear_layers, spared_layers

        layers = linear_layers(model)
        adapted = _adapted(config, layers)
        spared, experts = spared_layers(model), expert_weights(model)
        # peft's own word for all layers takes in all but the output, and experts too.
        whole = len(adapted) == len(layers) and len(spared) <= 1 and not experts
        return import_peft().LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha_in_force,
            lora_dropout=config.dropout,
            target_modules=ALL_LINEAR if whole else list(short_names(adapted, [*layers, *spared])),
            target_parameters=[weight.name for weight in experts] if config.experts else None,
            use_rslora=config.rslora,
            use_dora=config.dora,
            init_lora_weights={"kaiming": True, "pissa": _pissa.INIT}.get(config.init, config.init),
            fan_in_fan_out=is_transposed(model),
        )

    def attach(self, model: PreTrainedModel, config: LoraConfig) -> nn.Module:
        from peft.tuners.tuners_utils import BaseTunerLayer

        from studio.engine.kernels.lora import fuse_lora

        trained = super().attach(model, config)
        if config.init == "pissa":
            _pissa.keep_start(trained)
        for module in trained.modules():
            if isinstance(module, BaseTunerLayer):
                # peft would convert the inputs of A to fp32, and autocast then converts them back.
                module.cast_input_dtype_enabled = False  # type: ignore[assignment]
        fuse_lora(trained)
        return trained

    def switched_off(self, trained: nn.Module) -> AbstractContextManager[object]:
        """PiSSA takes its start out of the weights: they are the base with A and B at the start, and never without."""
        return nullcontext() if _pissa.is_started(trained) else super().switched_off(trained)

    def save(self, trained: nn.Module, folder: Path) -> None:
        super().save(trained, folder)
        _pissa.convert(trained, folder)

    def trainable_parameters(self, shapes: ModelShapes, config: LoraConfig) -> int:
        """Σ r·(d_in + d_out) over the adapted matrices; DoRA adds a length per output."""
        return _parameters(shapes, config, config.rank)

    def saved_tensors(self, shapes: ModelShapes, config: LoraConfig) -> int:
        """A and B, and the lengths of DoRA."""
        experts = 2 * len(shapes.experts) if config.experts else 0
        return experts + (3 if config.dora else 2) * len(_adapted(config, shapes.linear_layers))

    def saved_bytes(self, shapes: ModelShapes, config: LoraConfig, sizes: BytesPerWeight) -> float:
        """PiSSA is saved at twice the rank, in fp32: that is the dtype of the start, which is half of it."""
        if config.init == "pissa":
            return 4 * _parameters(shapes, config, 2 * config.rank)
        return super().saved_bytes(shapes, config, sizes)

    def activation_bytes(self, shapes: ModelShapes, config: LoraConfig, sizes: BytesPerActivation) -> ActivationBytes:
        """The inputs of the adapted layers, which hold what dropout has dropped (`kernels.lora`), A·x, and experts."""
        adapted = _adapted(config, shapes.linear_layers)
        inner = sizes.compute * config.rank * len(adapted)
        if config.dora:
            return _dora_bytes(adapted, config, sizes, inner)
        if config.dropout and shapes.transposed:  # peft's own modules: each layer saves its mask and its dropped input
            return ActivationBytes(sum(t.inputs for t in adapted) * (sizes.residual + sizes.compute) + inner)
        kept = input_bytes(shapes, adapted, sizes, shared=not shapes.transposed, dropped=config.dropout > 0)
        # peft adds B·A to the weights of all experts at once: autograd keeps their change and the sum, and one gradient
        # of that size is in work.
        experts = [e.experts * e.rows * e.columns for e in shapes.experts if config.experts]
        in_work = sizes.compute * max(experts, default=0)
        return ActivationBytes(kept + inner, of_weights=2 * sizes.compute * sum(experts), in_work=in_work)


def _adapted(config: LoraConfig, layers: Sequence[LinearShape]) -> list[LinearShape]:
    """The layers to adapt. Raises `ConfigError` where the model has none of that name, or none for such a rank."""
    if config.target_modules == (ALL_LINEAR,):
        adapted = [layer for layer in layers if layer.adaptable]
    elif config.target_modules == (ATTENTION_ONLY,):
        adapted = named(layers, attention_only(layers))
        if not adapted:
            words = tr("method.target_modules = {value}: no layer of this model is called attention; name the layers.")
            raise ConfigError(words.format(value=ATTENTION_ONLY))
    else:
        adapted = named(layers, config.target_modules, words=(ALL_LINEAR, ATTENTION_ONLY))
    if hidden := [layer.name for layer in adapted if not layer.adaptable]:
        words = tr(
            "method.target_modules: PEFT takes {name} for a part of the experts, which lie in one weight in this "
            "model; leave it out, or set method.experts = true."
        )
        raise ConfigError(words.format(name=hidden[0]))
    most = max((min(layer.inputs, layer.outputs) for layer in adapted), default=config.rank)
    if config.rank > most:
        words = tr("method.rank = {rank}: no adapted layer can change by more than rank {most}; take {most} or less.")
        raise ConfigError(words.format(rank=config.rank, most=most))
    if config.init == "pissa":
        _pissa.check_rank(config.rank, adapted)
    return adapted


def _parameters(shapes: ModelShapes, config: LoraConfig, rank: int) -> int:
    targets = _adapted(config, shapes.linear_layers)
    if config.experts and not shapes.experts:
        raise ConfigError(tr("method.experts = true: the model has no experts in one weight; set it to false."))
    experts = rank * sum(w.experts * (w.rows + w.columns) for w in shapes.experts) if config.experts else 0
    return experts + sum(rank * (t.inputs + t.outputs) + (t.outputs if config.dora else 0) for t in targets)


def _dora_bytes(
    adapted: Sequence[LinearShape], config: LoraConfig, sizes: BytesPerActivation, inner: float
) -> ActivationBytes:
    """DoRA goes through the modules of peft. Each layer saves its mask, its dropped input, the output of the frozen
    layer and that of the change. It makes B·A as a whole for the lengths, by sending the d_in unit vectors through A
    and B, and adds it to the frozen weight, both in fp32.
    """
    inputs, outputs = sum(t.inputs for t in adapted), sum(t.outputs for t in adapted)
    masks = sizes.residual * inputs if config.dropout else 0
    whole = max(4 * t.inputs * t.inputs + 2 * 4 * t.inputs * t.outputs for t in adapted)
    return ActivationBytes(masks + inner + sizes.compute * (inputs + 2 * outputs), in_work=whole)


METHOD = Lora()
