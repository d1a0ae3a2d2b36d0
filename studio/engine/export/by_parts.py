"""Exporting a model that does not fit into memory: everything is done part by part, with one part in fp32 at a time.

What is written, measured and checked is the same as with whole models, but for one check. Generation would read the
whole model for every token. Its place takes the question whether an ending token is the likeliest where the held-out
answers end.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from studio.engine.control import Progress
from studio.engine.dtypes import torch_dtype
from studio.engine.export.base import ModelTarget
from studio.engine.export.carry import generation_config, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.carried import carried_checks
from studio.engine.export.checks.files import read_table
from studio.engine.export.checks.outputs import output_checks
from studio.engine.export.checks.stop import taught_stop_check
from studio.engine.export.checks.weights import unloadable, weight_checks
from studio.engine.export.compare import EQUAL, compare
from studio.engine.export.merge import NOTHING_LOST, Change, count_non_finite, fingerprint_weight, save_formats
from studio.engine.export.prefix import Prefix
from studio.engine.export.prompts import answer_ends, choose_prompts
from studio.engine.export.reference import FEW_TOKENS, Reference
from studio.engine.export.rounded_base import is_rounded, round_layers
from studio.engine.export.shards import ShardWriter
from studio.engine.export.source import Source
from studio.engine.export.stopping import taught_stops
from studio.engine.export.stored import StoredModel
from studio.engine.export.streamed import NOTHING, Part, StreamedModel, Work, tuner_layers
from studio.engine.methods.peft_files import load_adapter
from studio.engine.models.config import load_config
from studio.engine.models.files import GENERATION_CONFIG, damaged
from studio.errors import Cancelled, ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def gather(
    source: Source,
    target: ModelTarget,
    dtype: str,
    prefix: Prefix,
    tokenizer: PreTrainedTokenizerBase,
    place: Path | None,
    progress: Progress,
) -> Reference:
    """Measure what `reference.gather` measures but the rounding, and write the weights into `place` if given.

    Raises:
        ModelError: the weights of the base, or the trained ones, are damaged or do not fit the model.
    """
    prompts = choose_prompts(source, tokenizer, progress)
    rows = [prompt.ids for prompt in prompts]
    asked = answer_ends(prompts, stop_ids(generation_config(source, tokenizer, prefix)))
    config = load_config(source.base)
    stored = _complete(source.base, StoredModel(source.base, config))

    base = StreamedModel(stored).run(rows, (), progress, "merging", _Scan(stored), tokens=FEW_TOKENS)
    quantisation, as_seen = None, NOTHING
    if is_rounded(source):
        as_seen = _Rounded(source.config.precision.base_dtype)
        original = base
        base = StreamedModel(stored).run(rows, (), progress, "merging", as_seen, tokens=FEW_TOKENS)
        quantisation = compare(original, base)
        del original
    change = _Merge(as_seen, None)
    if source.method.form == "model":
        own = _complete(source.folder.adapter, StoredModel(source.folder.adapter, config))
        change = _Merge(as_seen, stored)
        model = StreamedModel(own)
    else:

        def attach(plain: PreTrainedModel) -> nn.Module:
            return source.method.load(plain, source.folder.adapter)

        own = stored
        model = StreamedModel(stored, attach)
    trained = model.run(rows, asked, progress, "merging", as_seen)
    if target.plain_model:
        change.save(own.model, torch_dtype(dtype), place)
        stage = "merging" if place is None else "writing"
        merged = model.run(rows, (), progress, stage, change, tokens=FEW_TOKENS)
        merge, delta, weights = compare(trained.over(merged), merged), change.change.loss, change.prints
    else:
        merge, delta, weights = None, NOTHING_LOST, _prints(model)
        if place is not None:
            target.write(model.model, source, place)
    return Reference(
        prompts=prompts,
        asked=asked,
        prefix=prefix,
        base=base,
        trained=trained,
        quantisation=quantisation,
        merge=merge,
        rounding=EQUAL,
        delta=delta,
        weights=weights,
    )


def examine(
    source: Source,
    target: ModelTarget,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    folder: Path,
    progress: Progress,
) -> tuple[Check, ...]:
    """Do what `measure.examine` does. Raises `Cancelled`."""
    carried = carried_checks(source, target, dtype, tokenizer, reference.prefix, folder)
    open_again = _open_model if target.plain_model else _open_adapter
    try:
        stored, model, found = open_again(source, folder)
        if stored.problems:
            return (*weight_checks(stored.problems, {}, 0, None, dtype), *carried)
        rows = [prompt.ids for prompt in reference.prompts]
        outputs = model.run(rows, reference.asked, progress, "verifying", found)
    except Cancelled:
        raise
    except Exception as error:  # noqa: BLE001  # a damaged folder makes the libraries raise anything; it is reported
        return (unloadable(error), *carried)
    weights = weight_checks((), found.prints, found.non_finite, reference.weights, dtype)
    compared = compare(reference.trained, outputs)
    if all(check.passed for check in weights):
        reference = reference.with_rounding(compared, dtype)
    ends = stop_ids(read_table(folder / GENERATION_CONFIG) or {})
    taught = stop_ids(generation_config(source, tokenizer, reference.prefix))
    found_ends, trained_ends = taught_stops(outputs, ends), taught_stops(reference.trained, taught)
    return (
        *weights,
        *output_checks(reference, outputs, compared, dtype, source.config.precision.base_dtype),
        *carried,
        taught_stop_check(found_ends, trained_ends, generated=None),
    )


def _open_model(source: Source, folder: Path) -> tuple[StoredModel, StreamedModel, _Found]:
    """Open an export that is a whole model."""
    from transformers import AutoConfig

    stored = StoredModel(folder, AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    return stored, StreamedModel(stored), _FoundWeights(stored)


def _open_adapter(source: Source, folder: Path) -> tuple[StoredModel, StreamedModel, _Found]:
    """Open an adapter with peft, on the base as the run saw it."""
    stored = StoredModel(source.base, load_config(source.base))
    model = StreamedModel(stored, lambda plain: load_adapter(plain, folder))
    found = _Found(_Rounded(source.config.precision.base_dtype) if is_rounded(source) else NOTHING)
    found.prints, found.non_finite = _prints(model), count_non_finite(model.trained_part().values())
    return stored, model, found


def _prints(model: StreamedModel) -> dict[str, str]:
    return {name: fingerprint_weight(tensor) for name, tensor in model.trained_part().items()}


def _complete(folder: Path, stored: StoredModel) -> StoredModel:
    if stored.problems:
        raise ModelError(
            tr("The weights in {folder} do not fit the model: {names}.").format(
                folder=folder, names=tr(", ").join(stored.problems[:3])
            )
        )
    return stored


class _Scan(Work):
    """Refuses weights that are not numbers."""

    def __init__(self, stored: StoredModel) -> None:
        self._stored = stored

    def look(self, name: str, tensor: Tensor) -> None:
        if count_non_finite([tensor]):
            raise damaged(
                self._stored.place(name), tr("{tensor} holds values that are not numbers").format(tensor=name)
            )


class _Rounded(Work):
    """Rounds the base's linear layers as the run saw them."""

    def __init__(self, base_dtype: str) -> None:
        self._base_dtype = base_dtype

    def prepare(self, part: Part) -> None:
        round_layers(part.linear, self._base_dtype)


class _Merge(Work):
    """Merges, and afterwards rounds, fingerprints and writes.

    Attributes:
        change: what rounding does to the change of the weights.
        prints: SHA-256 of each finished weight.
    """

    def __init__(self, as_seen: Work, start: StoredModel | None) -> None:
        """`start` has the base's weights where what is merged is a whole model."""
        self._as_seen, self._start = as_seen, start
        self.change, self.prints = Change(), dict[str, str]()
        self._before: dict[str, Tensor] = {}
        self._formats: dict[str, torch.dtype] = {}
        self._writer: ShardWriter | None = None

    def save(self, model: PreTrainedModel, dtype: torch.dtype, place: Path | None) -> None:
        """Say what the weights are saved as, and where, if anywhere."""
        from studio.engine.export.targets.merged import SHARD

        self._formats = save_formats(model, dtype)
        if place is not None:
            shared = model.all_tied_weights_keys
            own = {name: dtype for name, dtype in self._formats.items() if name not in shared}
            self._writer = ShardWriter(model, own, place, SHARD)

    def prepare(self, part: Part) -> None:
        self._as_seen.prepare(part)
        self._before = self._start.read(part.owners.keys()) if self._start else part.weights()
        for layer in tuner_layers(part.module):
            layer.merge(safe_merge=True)

    def finish(self, part: Part) -> None:
        written = {}
        for name, weight in part.weights().items():
            if name in self.prints:
                continue  # a weight that two layers share
            dtype, before = self._formats[name], self._before.pop(name)
            if weight.is_floating_point():
                # A layer without a trained part still has the very tensor.
                changed = weight.data_ptr() != before.data_ptr()
                weight = weight.contiguous()
                if changed:
                    self.change.round(weight, before, dtype)
            written[name] = weight.to(dtype)
            self.prints[name] = fingerprint_weight(written[name])
        if self._writer and written:
            self._writer.write(written)


class _Found(Work):
    """What was found in an export.

    Attributes:
        prints: SHA-256 of each of its weights.
        non_finite: how many numbers in them are NaN or infinite.
    """

    def __init__(self, as_seen: Work = NOTHING) -> None:
        self._as_seen = as_seen
        self.prints: dict[str, str] = {}
        self.non_finite = 0

    def prepare(self, part: Part) -> None:
        self._as_seen.prepare(part)


class _FoundWeights(_Found):
    """Fingerprints the weights of a model as they pass, in the formats of its files."""

    def __init__(self, stored: StoredModel) -> None:
        super().__init__()
        self._stored = stored

    def finish(self, part: Part) -> None:
        for name, weight in part.weights().items():
            if name not in self.prints:
                self.non_finite += count_non_finite([weight])
                self.prints[name] = fingerprint_weight(weight.to(self._stored.stored_in(name)))
