"""Whether a model that is still on the hub can be trained here: from its config.json alone, before it is downloaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from studio.config import RunConfig
from studio.engine.child import Child, ChildFailed
from studio.engine.control import Progress
from studio.engine.dtypes import BYTES
from studio.engine.estimate import estimate
from studio.engine.estimate.plan import place_of, precision_at
from studio.engine.hub.api import HubError
from studio.engine.hub.fetch import fetch_json
from studio.engine.hub.repository import Found
from studio.engine.models.config import architecture, as_config, check_numbers, sanitised
from studio.engine.models.info import ModelInfo
from studio.errors import ModelError, StudioError
from studio.i18n import tr

# The most thorough first. A method with fewer trained weights than LoRA needs hardly less memory.
_METHODS = ("full", "lora")
_SECONDS = 60.0
_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What training a model would take on this machine, with the settings that a new run has.

    Attributes:
        fits: whether there is memory for it now.
        method: the most thorough method that fits, or else the one that needs least; "" with a problem.
        precision: what it computes in; `base_dtype`: what frozen weights are stored in.
        total_bytes: the memory that it takes, of `available_bytes` that are free. 0 where that is not known.
        problem: a sentence that says why the model cannot be trained at all, or "".
        unknown: a sentence that says why nothing is known of it, or "": its config.json could not be fetched.
    """

    fits: bool = False
    method: str = ""
    precision: str = ""
    base_dtype: str = ""
    total_bytes: int = 0
    available_bytes: int = 0
    parameters: int = 0
    problem: str = ""
    unknown: str = ""


def outlooks(models: Iterable[Found], tell: Callable[[str, Outlook], None], progress: Progress) -> None:
    """Call `tell(id, outlook)` for one model after another. Everything is done in a process of its own.

    Raises:
        Cancelled: by `progress`.
    """
    found = list(models)
    child: Child | None = None
    try:
        for number, model in enumerate(found):
            child = child or Child(_work)
            job = {"id": model.id, "dtype": model.dtype, "bytes": model.bytes}
            report = partial(_report, progress, number, len(found))
            try:
                tell(model.id, Outlook(**child.ask(job, report, _SECONDS)))
            except (ChildFailed, TimeoutError):
                child.close()
                child = None
                tell(model.id, Outlook(problem=tr("Its config.json cannot be made sense of.")))
        progress("reading_model", len(found), len(found))
    finally:
        if child is not None:
            child.close()


def _report(progress: Progress, done: int, total: int, *_: object) -> None:
    progress("reading_model", done, total)


def _work(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Work of a child."""
    progress("reading_model", 0, 0)
    try:
        outlook = judge(describe(job["id"], fetch_json(job["id"], "config.json"), job["dtype"], job["bytes"]))
    except HubError as error:
        outlook = Outlook(unknown=tr("Whether it can be trained here is not known: {reason}.").format(reason=error))
    except StudioError as error:
        outlook = Outlook(problem=str(error))
    return dataclasses.asdict(outlook)


def describe(repository: str, config: dict[str, Any], dtype: str = "", stored: int | None = None) -> ModelInfo:
    """Return what a config.json tells of a model, as far as training needs it: whether Base or Chat, it does not tell.

    Args:
        dtype: the format of its weights, where the hub says it; otherwise the one that config.json names.
        stored: size of its weights in bytes, where the hub says it.

    Raises:
        ModelError: it is no causal language model that transformers has, or it is stored quantised.
    """
    from studio.engine.models.structure import empty_model, model_shapes

    name = Path(repository)
    check_numbers(name, config)
    if "quantization_config" in config:
        words = tr("{model} is stored quantised; choose its original, unquantised version.")
        raise ModelError(words.format(model=repository))
    family = architecture(name, config)
    skeleton = empty_model(name, as_config(name, config))
    named = str(config.get("dtype") or config.get("torch_dtype"))
    dtype = dtype or _NAMES.get(named, "fp32")
    counted = model_shapes(skeleton, sanitised(config), 0, dtype)
    size = stored or int(counted.parameters * BYTES.get(dtype, 8))
    return ModelInfo(
        path=name,
        kind="base",
        reasons=(),
        problems=(),
        architecture=family,
        parameters=counted.parameters,
        bytes=size,
        dtype=dtype,
        context_length=None,
        has_template=False,
        eos_token=None,
        shapes=dataclasses.replace(counted, stored_bytes=size),
        skeleton=skeleton,
    )


def judge(info: ModelInfo) -> Outlook:
    """Return what training a model takes. Raises `StudioError` where it cannot be trained here."""
    for method in _METHODS:
        tables = {"model": {"path": str(info.path)}, "data": {"sources": [{"path": "-"}]}, "method": {"name": method}}
        config = RunConfig.model_validate(tables)
        needs = estimate(info, config, with_remedies=False)
        outlook = Outlook(
            fits=needs.fits,
            method=method,
            precision=precision_at(info, config, place_of(config)).name,
            base_dtype=needs.choices["base_dtype"],
            total_bytes=needs.total_bytes,
            available_bytes=needs.available_bytes,
            parameters=info.parameters,
        )
        if needs.fits:
            break
    return outlook
