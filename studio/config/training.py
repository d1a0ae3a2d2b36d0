"""Section `[training]`: how long, how large the steps, on what device."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from studio.config.option import Section, Usual, option
from studio.i18n import gettext_noop, tr


class TrainingConfig(Section):
    """Length, step size and device of the training."""

    epochs: float = option(
        1.0,
        "Epochs",
        "How often each row is seen. Small datasets take 2 to 5; more memorises and forgets.",
        gt=0.0,
        le=10_000.0,
        when=("max_steps", None),
        usual=Usual(
            low=0.0,
            high=10.0,
            why=gettext_noop("More passes over the same rows memorise them, and the model forgets the rest."),
        ),
    )
    max_steps: int | None = option(
        None,
        "Stop after",
        "A number of updates that replaces the number of epochs.",
        unit=gettext_noop("updates"),
        ge=1,
        le=10**9,
        advanced=True,
    )
    batch_size: int = option(
        8,
        "Rows per update",
        "How many rows each update learns from. They are computed in micro-batches as large as memory allows, with the "
        "same result.",
        unit=gettext_noop("rows"),
        ge=1,
        le=1_000_000,
        usual=Usual(
            low=1,
            high=512,
            why=gettext_noop(
                "Larger updates are fewer, and beyond some size a row teaches less (McCandlish et al. 2018)."
            ),
        ),
    )
    learning_rate: float = option(
        2e-4,
        "Learning rate",
        "The size of the steps. 2e-4 suits LoRA; full fine-tuning wants about ten times less. "
        "Too large diverges and forgets; too small learns nothing.",
        gt=0.0,
        le=10.0,
        offers=(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3),
    )
    schedule: Literal["cosine", "linear", "constant"] = option(
        "cosine",
        "Schedule",
        "How the learning rate falls after the warm-up: along a cosine, a line, or not at all.",
        labels={
            "cosine": gettext_noop("Cosine"),
            "linear": gettext_noop("Linear"),
            "constant": gettext_noop("Constant"),
        },
    )
    warmup_ratio: float = option(
        0.03,
        "Warm-up",
        "Share of the updates over which the learning rate rises from zero.",
        ge=0.0,
        le=1.0,
        usual=Usual(low=0.0, high=0.2, why=gettext_noop("A longer one leaves few updates at the full rate.")),
        advanced=True,
    )
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Pulls the trained matrices towards zero at every update (AdamW), not biases and gains of norms.",
        ge=0.0,
        le=1.0,
        usual=Usual(low=0.0, high=0.1, why=gettext_noop("More pulls the model away from what it knew.")),
        advanced=True,
    )
    max_grad_norm: float = option(
        1.0,
        "Clip gradients at",
        "The largest gradient norm; longer gradients are shortened to it. 0 switches clipping off.",
        ge=0.0,
        le=1e9,
        advanced=True,
    )
    optimizer: Literal["adamw", "adamw-8bit", "adafactor"] = option(
        "adamw",
        "Optimizer",
        "What it keeps of each trained weight, beside the weight and its gradient. AdamW: 8 bytes, two averages in "
        "fp32. AdamW with 8-bit states: 2 bytes, the same averages rounded in blocks (Dettmers et al. 2022); "
        "losses are hardly different. Adafactor: next to nothing, one average for each row and column (Shazeer & "
        "Stern 2018); it has no momentum, so it learns a little more slowly. For LoRA, whose weights are few, "
        "take AdamW. For full fine-tuning the others save 6 and 8 of 16 bytes.",
        labels={
            "adamw": gettext_noop("AdamW"),
            "adamw-8bit": gettext_noop("AdamW, 8-bit states"),
            "adafactor": gettext_noop("Adafactor"),
        },
        advanced=True,
    )
    recompute: Literal["auto", "on", "off"] = option(
        "auto",
        "Recompute activations",
        "Computes each layer once more on the way back instead of keeping what it computed (Chen et al. 2016). The "
        "result is the same bit for bit. It takes a third more time, and a fraction of the memory. Automatic: "
        "where memory is short.",
        labels={"auto": gettext_noop("Automatic"), "on": gettext_noop("On"), "off": gettext_noop("Off")},
        advanced=True,
    )
    shard: Literal["auto", "on", "off"] = option(
        "auto",
        "Spread the weights",
        "Full fine-tuning on several GPUs under torchrun: each holds a part of the weights, of their gradients and of "
        "the optimizer's states, and the weights of a layer are gathered when it computes (FSDP, Zhao et al. 2023). "
        "The result is the same but for rounding; the GPUs exchange more. It needs AdamW and an fp32 master copy. "
        "Automatic: where the whole does not fit each GPU.",
        labels={"auto": gettext_noop("Automatic"), "on": gettext_noop("On"), "off": gettext_noop("Off")},
        advanced=True,
    )
    start_from: str = option(
        "",
        "Start from",
        "A run folder. Training begins with what that run has trained, in place of a fresh start: first on texts of "
        "the field, then on instructions, say. Base model, method and its shapes must be the same; data and rates may "
        "differ.",
        advanced=True,
    )
    evaluate_every: int | None = option(
        None,
        "Validate every",
        "Updates between two validations. Automatic: ten times in a run, or less often where that takes too long.",
        unit=gettext_noop("updates"),
        ge=1,
        advanced=True,
    )
    evaluation_share: float = option(
        0.1,
        "Time for validation",
        "Largest share of the run that validation may take. Where the held-out rows would take longer, a sample of "
        "them is measured, the same rows every time, and less often. 1 measures all of them.",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    seed: int = option(
        0, "Seed", "Same seed, same machine, same settings: the same run, bit for bit.", ge=0, lt=2**63, advanced=True
    )
    device: str = option(
        "auto", "Device", "Automatic takes the GPU where there is one. Otherwise cpu, cuda, cuda:1, mps.", advanced=True
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        kind, _, index = device.partition(":")
        if device in ("auto", "cpu", "cuda", "mps") or (kind == "cuda" and index.isdecimal()):
            return device
        raise ValueError(tr("take auto, cpu, cuda, cuda:N or mps"))
