"""LoRA: learn a low-rank change of the weights (Hu et al. 2021, arXiv 2106.09685), carried by peft."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods.base import Method
from studio.errors import ConfigError
from studio.i18n import mark, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from studio.engine.models.shapes import ModelShapes

ALL_LINEAR = "all-linear"


def _split(value: Any) -> Any:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class LoraConfig(MethodConfig):
    """ΔW = B·A, scaled by alpha / rank."""

    name: Literal["lora"] = "lora"
    rank: int = option(
        16,
        title=mark("Rank"),
        help=mark("r, the inner size of B·A. 4 to 32 is customary; a larger one can learn more and weighs more."),
        ge=1,
        le=4096,
    )
    alpha: float = option(
        32.0,
        title=mark("Alpha"),
        help=mark("The change is scaled by alpha / rank. Twice the rank is customary."),
        gt=0.0,
        le=1e6,
    )
    dropout: float = option(
        0.05,
        title=mark("Dropout"),
        help=mark("Share of the inputs of A that are zeroed at random in training, against memorising."),
        ge=0.0,
        lt=1.0,
    )
    target_modules: Annotated[tuple[str, ...], BeforeValidator(_split), Field(min_length=1)] = option(
        (ALL_LINEAR,),
        title=mark("Where"),
        help=mark(
            "all-linear adapts every linear layer but the output, which learns best for its size. "
            "Or name layers, such as q_proj, v_proj."
        ),
    )
    rslora: bool = option(
        False,
        title=mark("Rank-stabilised (rsLoRA)"),
        help=mark("Scale by alpha / √rank, so that large ranks learn as fast as small ones (Kalajdzievski 2023)."),
        advanced=True,
    )
    dora: bool = option(
        False,
        title=mark("Weight-decomposed (DoRA)"),
        help=mark(
            "Also learn each output's length apart from its direction (Liu et al. 2024). Better at small ranks, slower."
        ),
        advanced=True,
    )
    init: Literal["kaiming", "gaussian"] = option(
        "kaiming",
        title=mark("Start of A"),
        help=mark("The random values that A starts with. B starts at zero either way, so training starts at the base."),
        labels={"kaiming": mark("Kaiming uniform"), "gaussian": mark("Gaussian")},
        advanced=True,
    )


def _attach(model: PreTrainedModel, config: LoraConfig) -> nn.Module:
    from studio.engine.models.quantise import import_bitsandbytes

    import_bitsandbytes()
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    everywhere = config.target_modules == (ALL_LINEAR,)
    peft_config = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft divides it by r; a float serves
        lora_dropout=config.dropout,
        target_modules=ALL_LINEAR if everywhere else list(config.target_modules),
        use_rslora=config.rslora,
        use_dora=config.dora,
        init_lora_weights=True if config.init == "kaiming" else config.init,
        fan_in_fan_out=_is_transposed(model),
        task_type="CAUSAL_LM",
    )
    try:
        trained = get_peft_model(model, peft_config)
    except ValueError as error:
        if "not found in the base model" not in str(error):
            raise
        raise ConfigError(
            tr("method.target_modules: {names} not found in this model; it has {known}.").format(
                names=", ".join(config.target_modules), known=", ".join(_linear_names(model))
            )
        ) from error
    return _lighten(trained)


def _lighten(trained: nn.Module) -> nn.Module:
    """Compute the same with less: one step of the graph for each layer, and no fp32 copy of the inputs of A."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    from studio.engine.kernels.lora import fuse_lora

    for module in trained.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]  # autocast converts them once
    fuse_lora(trained)
    return trained


def _is_transposed(model: PreTrainedModel) -> bool:
    """GPT-2 keeps its weights as (inputs, outputs); a quantised layer remembers that it was such a one."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) or getattr(module, "fan_in_fan_out", False) for module in model.modules())


def _linear_names(model: PreTrainedModel) -> list[str]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)})


def _save(trained: nn.Module, folder: Path) -> None:
    # Embeddings are never trained here; peft's automatic look for changed ones would ask the hub.
    trained.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]


def _load(base: PreTrainedModel, folder: Path) -> nn.Module:
    from studio.engine.models.quantise import import_bitsandbytes

    import_bitsandbytes()
    from peft import PeftModel

    return PeftModel.from_pretrained(base, str(folder)).eval()


def _merge(loaded: nn.Module) -> PreTrainedModel:
    merged: PreTrainedModel = loaded.float().merge_and_unload(safe_merge=True)  # type: ignore[operator]
    return merged


def _trainable_parameters(shapes: ModelShapes, config: LoraConfig) -> int:
    """Σ r·(d_in + d_out) over the adapted matrices; DoRA adds a length per output."""
    targets = shapes.linear(None if config.target_modules == (ALL_LINEAR,) else config.target_modules)
    return sum(config.rank * (t.inputs + t.outputs) + (t.outputs if config.dora else 0) for t in targets)


METHOD = Method(
    name="lora",
    title=mark("LoRA"),
    explanation=mark(
        "The base stays frozen; beside each linear layer a low-rank change ΔW = B·A is learnt, scaled by alpha / rank. "
        "Only B and A are trained: a patch of megabytes for each task, which can be swapped, or merged into the "
        "weights so that it costs no latency. Start here."
    ),
    order=10,
    config=LoraConfig,
    form="peft",
    mergeable=True,
    quantised_base=True,
    cost_in_use=mark("Nothing once merged; unmerged, two small products beside every adapted layer."),
    suggested_learning_rate=2e-4,
    attach=_attach,
    save=_save,
    load=_load,
    merge=_merge,
    trainable_parameters=_trainable_parameters,
)
