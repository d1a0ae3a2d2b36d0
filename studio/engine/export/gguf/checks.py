"""The certificate of a GGUF file: llama.cpp opens it, and is held against the trained model.

Three things can go wrong, and are measured apart. The merge is checked before anything is written (`merge_exact`). The
conversion shows in a file without quantisation: an F32 file must give the trained model's logits within 1e-3. And what
a format costs is measured as KL divergence and agreement, beside those of the same model as F16.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from studio.engine.child import ChildFailed, run_in_child
from studio.engine.control import Progress
from studio.engine.export import stopping
from studio.engine.export.carry import generation_config, stop_ids
from studio.engine.export.certificate import Check
from studio.engine.export.checks.outputs import PRESENT, WORST_KL, WORST_TOP1
from studio.engine.export.checks.stop import STRAY, stop_check, taught_stop_check
from studio.engine.export.compare import Comparison, Outputs, compare, kept_positions, largest_logit, share_carried
from studio.engine.export.gguf import llama_cpp
from studio.engine.export.gguf.architectures import ARCHITECTURES
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.prefix import CONVERSATIONS, SAMPLES, Prefix
from studio.engine.export.prompts import built_in_prompts
from studio.engine.export.reference import Reference, logit_tolerance
from studio.engine.export.source import Source
from studio.engine.export.stopping import Stops, taught_stops
from studio.errors import ExportError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Nats per token that quantisation may cost. Beyond it, the model that is asked is another one. (SmolLM2-135M, whose
# published file is Q4_1, loses 0.5 as Q4_0, and 0.08 as Q4_K_M.)
WORST_QUANTISED_KL = 1.0
# Built-in prompts whose answers are shown.
_SHOWN = 3


@dataclass(frozen=True)
class Beside:
    """What is measured beside a quantised file, to tell what is the format's doing.

    Attributes:
        f16: the same model saved as F16, against the trained one; None where it was not measured.
        f16_failed: llama.cpp did not open that file, so that nothing tells the conversion from the format.
        base: outputs of the base saved in the same format, over the first few prompts. Quantisation moves the outputs
            of both models alike, and often further than training did; what training did is their difference.
    """

    f16: Comparison | None = None
    base: Outputs | None = None
    f16_failed: bool = False


NOTHING_BESIDE = Beside()


def examine(
    source: Source,
    dtype: str,
    tokenizer: PreTrainedTokenizerBase,
    reference: Reference,
    path: Path,
    beside: Beside,
    progress: Progress,
) -> tuple[Check, ...]:
    """Open a file in llama.cpp and return every check.

    Args:
        beside: what was measured beside a quantised file.

    Raises:
        Cancelled: through `progress`.
    """
    merge: tuple[Check, ...] = ()
    if reference.merge is not None:
        value, limit = reference.merge.max_logit_difference, logit_tolerance(reference.trained)
        merge = (Check.of("merge_exact", value <= limit, value, limit),)
    if reason := llama_cpp.why_not():
        return (*merge, _loads(reason, absent=True))
    asking = _Asking(source, tokenizer, reference)
    try:
        said, outputs = asking.measure(path, progress)
    except (ExportError, ChildFailed) as error:
        return (*merge, _loads(str(error) or type(error).__name__))
    return (
        *merge,
        _loads(""),
        asking.tokens(said),
        *_loss(source, reference, outputs, dtype, beside),
        asking.template(said),
        asking.ends(said),
        *asking.stops(said, outputs),
        asking.answers(said),
    )


def measure_loss(
    source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, path: Path, progress: Progress
) -> Comparison | None:
    """Return a file's outputs in llama.cpp against the trained model's; None where llama.cpp does not open it."""
    try:
        _, outputs = _Asking(source, tokenizer, reference, brief=True).measure(path, progress)
    except (ExportError, ChildFailed) as error:
        log.warning("%s cannot be measured in llama.cpp: %s", path.name, error)
        return None
    return compare(reference.trained, outputs)


def measure_base(
    source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, path: Path, progress: Progress
) -> Outputs | None:
    """Return the outputs of the base's file over the first few prompts; None where llama.cpp does not open it."""
    count = len(reference.base.rows)
    few = dataclasses.replace(
        reference,
        prompts=reference.prompts[:count],
        trained=reference.base,
        asked=(),
        prefix=Prefix(tokenizer=tokenizer),
    )
    try:
        _, outputs = _Asking(source, tokenizer, few, brief=True).measure(path, progress)
    except (ExportError, ChildFailed) as error:
        log.warning("The base as %s cannot be measured in llama.cpp: %s", path.name, error)
        return None
    fits = outputs.rows[0].shape == reference.base.rows[0].shape
    return outputs if fits else None


def _loads(reason: str, *, absent: bool = False) -> Check:
    return Check.of("gguf_loads", not reason, not reason, reason=" ".join(reason.split())[-300:], absent=absent)


class _Asking:
    """What llama.cpp is asked, and what its answers should be."""

    def __init__(
        self, source: Source, tokenizer: PreTrainedTokenizerBase, reference: Reference, *, brief: bool = False
    ) -> None:
        self._source, self._base, self._reference, self._brief = source, tokenizer, reference, brief
        prefix = reference.prefix
        self._own = prefix.tokenizer
        self._ends = stop_ids(generation_config(source, tokenizer, prefix))
        self._shown = built_in_prompts(source, tokenizer)[:_SHOWN]
        ending = {row for row, _ in reference.asked}
        known = [prompt for row, prompt in enumerate(reference.prompts) if row in ending or not ending]
        self._prompts = sorted(known, key=lambda prompt: len(prompt.ids) - prompt.answer)[: stopping.TRIES]
        rendered = (prefix.render(tokenizer, conversation, True) for conversation in CONVERSATIONS)
        rows = (list(prompt.ids) for prompt in reference.prompts)
        self._bare = [self._text(ids) for ids in (*rows, *filter(None, rendered))]

    def measure(self, path: Path, progress: Progress) -> tuple[dict[str, Any], Outputs]:
        """Return what llama.cpp says, and its logits over the held-out rows. Raises what `run_in_child` raises."""
        reference, opening = self._reference, list(self._reference.prefix.ids)
        vocabulary = reference.trained.rows[0].shape[-1]
        rows = [prompt.ids for prompt in reference.prompts]
        kept = [list(kept_positions(row, vocabulary)) for row in rows]
        asked = [[place for row, place in reference.asked if row == number] for number in range(len(rows))]
        prompts = [] if self._brief else [*self._prompts, *self._shown]
        with tempfile.TemporaryDirectory() as folder:
            logits = Path(folder) / "logits"
            job = {
                "path": str(path),
                "texts": [] if self._brief else list(SAMPLES),
                "bare": [] if self._brief else self._bare,
                "rows": [[*opening, *row] for row in rows],
                "positions": [
                    [len(opening) + place for place in (*places, *ends)]
                    for places, ends in zip(kept, asked, strict=True)
                ],
                "ends": self._ends,
                "prompts": [[*opening, *prompt.ids[: prompt.answer]] for prompt in prompts],
                "limit": stopping.LIMIT,
                "logits": str(logits),
            }
            said = run_in_child(llama_cpp.measure, job, progress)
            found = np.fromfile(logits, dtype=np.float32)
        count = sum(len(places) + len(ends) for places, ends in zip(kept, asked, strict=True))
        return said, self._outputs(torch.from_numpy(found).view(count, -1), kept, asked)

    def _outputs(self, logits: torch.Tensor, kept: Sequence[list[int]], asked: Sequence[list[int]]) -> Outputs:
        left_out = list(self._reference.prefix.ids)
        columns = torch.ones(logits.shape[-1], dtype=torch.bool)
        columns[left_out] = False
        rows, ends = [], []
        for row, last in zip(kept, asked, strict=True):
            part, logits = logits[: len(row)], logits[len(row) :]
            rows.append(part)
            ends.append(logits[: len(last)])
            logits = logits[len(last) :]
        stray = 0.0
        if left_out:
            shares = [(row[:, left_out].logsumexp(-1) - row.logsumexp(-1)).max().double().exp() for row in rows]
            stray = float(torch.stack(shares).max())
        at_ends = torch.cat(ends)
        return Outputs(tuple(row[:, columns] for row in rows), stray, at_ends if len(at_ends) else None)

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._own.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def tokens(self, said: dict[str, Any]) -> Check:
        expected = [list(self._own(text)["input_ids"]) for text in SAMPLES]
        bare = [list(self._own(text, add_special_tokens=False)["input_ids"]) for text in self._bare]
        pairs = [*zip(said["tokens"], expected, strict=True), *zip(said["bare"], bare, strict=True)]
        wrong = sum(found != wanted for found, wanted in pairs)
        return Check.of("gguf_tokens", not wrong, wrong, 0, texts=len(pairs))

    def template(self, said: dict[str, Any]) -> Check:
        from studio.engine.models.template import default_template

        wanted = default_template(self._own)
        return Check.of("gguf_template", said["template"] == wanted, said["template"] == wanted, has_one=bool(wanted))

    def ends(self, said: dict[str, Any]) -> Check:
        missing = [token for token in self._ends if token not in said["ends"]]
        return Check.of("gguf_ends", not missing, self._names(self._ends), missing=self._names(missing))

    def stops(self, said: dict[str, Any], outputs: Outputs) -> tuple[Check, ...]:
        """Return whether the file ends an answer by itself, and never says a virtual token."""
        reference = self._reference
        answers = said["answers"][: len(self._prompts)]
        ended = [len(answer["tokens"]) for answer in answers if answer["ended"]]
        prompt, longest = self._prompts[0], max(len(answer["tokens"]) for answer in answers)
        if ended or not reference.asked:
            stops = Stops(prompt, ended[0] if ended else None, tuple(answers[0]["tokens"]))
            stopped = stop_check(stops, None, stopping.LIMIT)
        else:
            found, trained = taught_stops(outputs, self._ends), taught_stops(reference.trained, self._ends)
            stopped = taught_stop_check(found, trained, generated=longest)
        if not reference.prefix.ids:
            return (stopped,)
        told = any(set(answer["tokens"]) & set(reference.prefix.ids) for answer in said["answers"])
        name, passed = "virtual_tokens_never_generated", outputs.stray <= STRAY and not told
        return stopped, Check.of(name, passed, outputs.stray, STRAY, said=told)

    def answers(self, said: dict[str, Any]) -> Check:
        """Only informs; the prompts are the built-in ones, so that no text of the dataset gets into the certificate."""
        from studio.engine.export.prompts import BUILT_IN

        told = said["answers"][len(self._prompts) :]
        shown = [
            {"asked": asked, "answer": self._answer(answer["tokens"])}
            for asked, answer in zip(BUILT_IN[:_SHOWN], told, strict=True)
        ]
        return Check.of("gguf_answers", True, None, answers=shown)

    def _answer(self, tokens: Sequence[int]) -> str:
        return " ".join(str(self._own.decode(list(tokens), skip_special_tokens=True)).split())[:300]

    def _names(self, tokens: Sequence[int]) -> str:
        return ", ".join(str(name) for name in self._base.convert_ids_to_tokens(list(tokens)))


def _tolerance(source: Source, trained: Outputs) -> float:
    """Return by how much logits may differ where nothing was rounded.

    llama.cpp looks GELU up in a table of F16 numbers, which have 11 significant bits.
    """
    table = ARCHITECTURES[str(source.info.shapes.config["model_type"])].activation.startswith("gelu")
    return max(logit_tolerance(trained), 2**-11 * largest_logit(trained) if table else 0.0)


def _loss(
    source: Source, reference: Reference, outputs: Outputs, dtype: str, beside: Beside
) -> tuple[Check, Check, Check]:
    found, chosen = compare(reference.trained, outputs), FORMATS[dtype]
    exact = dtype == "f32"
    value, limit = found.max_logit_difference, _tolerance(source, reference.trained) if exact else None
    logits = Check.of("gguf_logits", limit is None or value <= limit, value, limit, exact=exact)
    # The conversion itself shows in the F16 file, which has the same limits as any export in 16 bits.
    f16 = beside.f16
    right = not beside.f16_failed and (
        f16 is None or (f16.kl_divergence <= WORST_KL and f16.top1_agreement >= WORST_TOP1)
    )
    worst = WORST_QUANTISED_KL if chosen.quantised else WORST_KL
    passed = right and found.kl_divergence <= worst and found.top1_agreement >= WORST_TOP1
    loss = Check.of(
        "gguf_loss",
        passed,
        found.kl_divergence,
        worst,
        dtype=dtype,
        top1=found.top1_agreement,
        kl_f16=f16.kl_divergence if f16 else None,
        top1_f16=f16.top1_agreement if f16 else None,
        severe=found.kl_divergence > WORST_KL,
    )
    trained = reference.few(reference.trained)
    effect = compare(trained, reference.base)
    few = reference.few(outputs)
    if beside.base is not None:
        few = _moved(reference.base, beside.base, few)
    share = share_carried(reference.base, trained, few)
    rounded = None if exact else dtype
    present = Check.of(
        "delta_present",
        share >= PRESENT,
        share,
        PRESENT,
        logits=effect.max_logit_difference,
        kl=effect.kl_divergence,
        rounded_to=rounded,
    )
    return logits, loss, present


def _moved(base: Outputs, rounded_base: Outputs, rounded: Outputs) -> Outputs:
    """Return the base's outputs moved as far as training moved those of the quantised base."""
    triples = zip(base.rows, rounded_base.rows, rounded.rows, strict=True)
    return Outputs(tuple(start + (end - begin) for start, begin, end in triples))
