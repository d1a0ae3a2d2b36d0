"""What the model unlearns, measured while it trains: perplexity, KL from the base, and answers to known questions.

The base is the model with its trained part off. What its output layer reads is recorded once, before the first step:
d numbers a token in place of one log-probability for each word of the vocabulary. Nothing is rounded. The base's
log-probabilities are made of it again when they are compared, a piece at a time. Where training changes the output
layer too, the layer's weights are kept as they were, in 16 bits where that loses nothing.

Measuring leaves no trace in training: no random number is drawn, and no weight, gradient or mode is changed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from studio.engine.control import Progress
from studio.engine.data.batching import MicroBatch, collate, group_by_length
from studio.engine.data.rows import IGNORED
from studio.engine.fit import PIECE, in_fp32
from studio.engine.methods import METHODS
from studio.engine.training.probes import Probes, Question
from studio.engine.training.state import Position
from studio.engine.training.trainer import Trainer
from studio.events import PromptsAnswered, RetentionMeasured

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from studio.engine.data.rows import TokenizedRow

log = logging.getLogger(__name__)
T = TypeVar("T")

# Tokens of one measurement. With fewer than the least a perplexity says little; more than the most say little more.
MOST_TOKENS, LEAST_TOKENS = 4096, 256
# Passes over the probes that a run should have at least: the base, before the first step, two on the way, the end.
PASSES = 5
# Tokens read by all passes, as a share of the tokens trained on. A token that is trained on takes about as long as two
# or three that are read; the second set of logits adds a fourth to reading. So passes take up to 3 % of the time.
SHARE_OF_TOKENS = 0.05
# Questions are asked twice. A question with its answer takes about as long as reading so many tokens, because each
# token of the answer is a pass of its own.
SHARE_OF_QUESTIONS, TOKENS_PER_QUESTION = 0.03, 150
LEAST_QUESTIONS, MOST_QUESTIONS = 4, 30
# Tokens of an answer to a known question, and to the user's own prompts.
SHORT, LONG = 12, 64
# The most bytes of what is recorded of the base.
RECORD_BYTES = 1 << 28


@dataclass(frozen=True)
class Plan:
    """How much is measured, so that it costs a run of this length a few percent.

    Attributes:
        tokens: of one measurement, predicted ones.
        measurements: after the first step; the last one is at the end.
        questions: how many are asked before and after.
    """

    tokens: int
    measurements: int
    questions: int


def plan_measurements(training_tokens: float) -> Plan:
    """Return how much to measure in a run that trains on so many tokens, each counted as often as it is seen.

    A run that is too short for the least is measured before and after all the same.
    """
    affordable = SHARE_OF_TOKENS * training_tokens
    tokens = int(min(MOST_TOKENS, max(LEAST_TOKENS, affordable / PASSES)))
    questions = min(MOST_QUESTIONS, int(SHARE_OF_QUESTIONS * training_tokens / 2 / TOKENS_PER_QUESTION))
    measurements = max(1, int(affordable / tokens) - 2)
    return Plan(tokens, measurements, questions if questions >= LEAST_QUESTIONS else 0)


@dataclass(frozen=True)
class _Base:
    """What is kept of the base.

    Attributes:
        hidden: of each row what the output layer read at its predicted tokens, (tokens, d), in the processor's memory.
        head: trained parameters of the output layer as they were, by name; empty where it is frozen.
    """

    hidden: Sequence[Tensor]
    head: Mapping[str, Tensor]


class RetentionMeter:
    """Measures one run.

    Attributes:
        plan: how much is measured.
        last: the newest measurement.
    """

    def __init__(
        self,
        probes: Probes,
        plan: Plan,
        tokenizer: PreTrainedTokenizerBase,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives the seconds that the measurements take."""
        self.plan = plan
        self._clock = clock
        self.last: RetentionMeasured | None = None
        self._rows = _take(probes.rows, plan.tokens)
        self._questions = probes.questions[: plan.questions]
        self._prompts = probes.prompts
        self._tokenizer = tokenizer
        self._base: _Base | None = None

    @property
    def questions(self) -> int:
        """How many general questions are asked."""
        return len(self._questions)

    @property
    def recorded(self) -> bool:
        """Whether the base was recorded."""
        return self._base is not None

    def record_base(self, trainer: Trainer, progress: Progress) -> None:
        """Record the base, while the trained part is at its start; again when the model was loaded anew."""
        width = trainer.model.base.config.get_text_config().hidden_size
        if trainer.model.loss.needs_all_logits:
            width = trainer.model.loss.vocabulary
        self._rows = _take(self._rows, RECORD_BYTES // (4 * width))
        self._base = trainer.within_memory("evaluation", lambda: self._record(trainer, progress))

    def measure(self, trainer: Trainer, position: Position, progress: Progress) -> RetentionMeasured:
        """Compare the model as it is now with the base, in the precision of training, without dropout.

        Where memory runs out, all is measured again in smaller micro-batches. Raises `Cancelled`, and `TrainingError`
        where memory is short of what a single row takes.
        """
        started = self._clock()
        base_loss, loss, kl, tokens = trainer.within_memory("evaluation", lambda: self._compare(trainer, progress))
        self.last = RetentionMeasured(
            step=position.step,
            update=position.update,
            perplexity=_exp(loss / tokens),
            base_perplexity=_exp(base_loss / tokens),
            kl=kl / tokens,
            tokens=tokens,
            seconds=self._clock() - started,
        )
        return self.last

    def answer(
        self, trainer: Trainer, position: Position, progress: Progress, *, known: bool, base: bool = False
    ) -> PromptsAnswered | None:
        """Let the model answer the user's prompts, and general questions where `known`; None without any.

        Args:
            base: let the base answer.
        """
        asked = [*(self._questions if known else ()), *self._prompts]
        if not asked:
            return None
        started = self._clock()
        answers = trainer.within_memory("evaluation", lambda: self._answers(trainer, asked, base, progress))
        return PromptsAnswered(
            step=position.step,
            update=position.update,
            answers=[
                {"prompt": one.prompt, "answer": answer, "own": one.own, "right": one.judge(answer)}
                for one, answer in zip(asked, answers, strict=True)
            ],
            seconds=self._clock() - started,
        )

    def _record(self, trainer: Trainer, progress: Progress) -> _Base:
        hidden: dict[int, Tensor] = {}

        def keep(places: list[int], batch: MicroBatch) -> None:
            read = trainer.read(batch, 0).cpu()
            hidden.update(zip(places, read.split(_predicted(batch.rows)), strict=True))

        method = METHODS.get(trainer.config.method.name)
        with method.switched_off(trainer.model.model):
            self._go_through(trainer, 0, keep, progress)
        head = {name: _narrow(weight.detach()) for name, weight in trainer.model.loss.trained_head.items()}
        return _Base([hidden[place] for place in range(len(self._rows))], head)

    def _compare(self, trainer: Trainer, progress: Progress) -> tuple[float, float, float, int]:
        """Return the summed losses of the base and of the model, their summed KL, in nats, and the number of tokens."""
        assert self._base is not None, "the base is recorded first"
        base, loss, device = self._base, trainer.model.loss, trainer.device
        now = loss.trained_head
        head = {name: weight.to(device, now[name].dtype) for name, weight in base.head.items()}
        # Python's floats are fp64: in fp32 the sum of thousands of micro-batches would lose digits.
        sums, tokens = [0.0, 0.0, 0.0], 0

        def add(places: list[int], batch: MicroBatch) -> None:
            nonlocal tokens
            hidden = trainer.read(batch, loss.virtual_tokens)
            before = torch.cat([base.hidden[place] for place in places]).to(device)
            targets = batch.targets.flatten()[batch.learnt].to(device)
            with trainer.autocast():
                found = _compare_pieces(
                    before, hidden, targets, lambda h: loss.logits(h, head), loss.logits, loss.vocabulary
                )
            for number, value in enumerate(found.tolist()):
                sums[number] += value
            tokens += batch.supervised

        self._go_through(trainer, loss.virtual_tokens, add, progress)
        return sums[0], sums[1], sums[2], tokens

    def _go_through(
        self, trainer: Trainer, virtual_tokens: int, see: Callable[[list[int], MicroBatch], None], progress: Progress
    ) -> None:
        """Show all rows to `see`, with their places, in micro-batches."""
        lengths = [len(row.input_ids) + virtual_tokens for row in self._rows]
        groups = group_by_length(lengths, trainer.token_budget)
        with trainer.model.loss.without_dropout(), torch.no_grad():
            for number, places in enumerate(groups):
                progress("measuring_retention", number, len(groups))
                see(places, collate([self._rows[place] for place in places], trainer.pad_id))

    def _answers(self, trainer: Trainer, asked: Sequence[Question], base: bool, progress: Progress) -> list[str]:
        """Return an answer to each, greedily chosen."""
        from transformers import GenerationConfig

        from studio.engine.models.quiet import ignore_positions

        model, method = trainer.model, METHODS.get(trainer.config.method.name)
        ends = _ends(model.base, self._tokenizer)
        answers: dict[int, str] = {}
        groups = _of_equal_length(asked, trainer.token_budget)
        ignore_positions()
        speaker = model.base if base else model.model
        with model.loss.without_dropout(), torch.no_grad(), trainer.autocast():
            off = method.switched_off(model.model) if base else torch.no_grad()
            with off:
                for number, places in enumerate(groups):
                    progress("asking", number, len(groups))
                    limit = LONG if asked[places[0]].own else SHORT
                    ids = torch.tensor([asked[place].ids for place in places], device=trainer.device)
                    config = GenerationConfig(
                        max_new_tokens=limit,
                        do_sample=False,
                        eos_token_id=ends or None,
                        pad_token_id=ends[0] if ends else trainer.pad_id,
                    )
                    output: Tensor = speaker.generate(  # type: ignore[operator]
                        input_ids=ids,
                        attention_mask=torch.ones_like(ids),
                        generation_config=config,
                        synced_gpus=trainer.in_step,  # no process stops before the others
                    )
                    for place, answer in zip(places, output[:, ids.shape[1] :].tolist(), strict=True):
                        answers[place] = self._text(asked[place], answer, ends)
        return [answers[place] for place in range(len(asked))]

    def _text(self, question: Question, answer: list[int], ends: Sequence[int]) -> str:
        end = next((place for place, token in enumerate(answer) if token in ends), len(answer))
        text = str(self._tokenizer.decode(answer[:end], skip_special_tokens=True)).strip()
        return text.partition("\n")[0] if question.one_line else text


def _take(rows: Sequence[TokenizedRow], tokens: int) -> list[TokenizedRow]:
    """Return the first rows, with about so many predicted tokens, and one at least."""
    taken: list[TokenizedRow] = []
    for row, count in zip(rows, _predicted(rows), strict=True):
        tokens -= count
        if tokens < 0 and taken:
            break
        if count:
            taken.append(row)
    return taken


def _predicted(rows: Sequence[TokenizedRow]) -> list[int]:
    """Return how many tokens of each row are predicted."""
    return [int((np.asarray(row.labels[1:]) != IGNORED).sum()) for row in rows]


def _compare_pieces(
    base: Tensor,
    trained: Tensor,
    targets: Tensor,
    base_logits: Callable[[Tensor], Tensor],
    trained_logits: Callable[[Tensor], Tensor],
    vocabulary: int,
) -> Tensor:
    """Return the summed loss of the base, that of the model, and KL = Σ p·(log p - log q), in nats, fp32, (3,).

    Args:
        base, trained: what the output layer reads, (tokens, d) each.
        targets: the tokens that follow, int64, (tokens,).
        base_logits, trained_logits: return the logits (tokens, vocabulary) of some rows of these.
    """
    sums = torch.zeros(3, device=trained.device)
    step, fine = max(1, PIECE // vocabulary), max(1, in_fp32(trained.device.type) // vocabulary)
    for begin in range(0, len(targets), step):
        piece = slice(begin, begin + step)
        both = zip(
            base_logits(base[piece]).split(fine),
            trained_logits(trained[piece]).split(fine),
            targets[piece].split(fine),
            strict=True,
        )
        for p_logits, q_logits, target in both:
            log_p, log_q = (logits.float().log_softmax(1) for logits in (p_logits, q_logits))
            for number, log_probability in enumerate((log_p, log_q)):
                sums[number] -= log_probability.gather(1, target[:, None]).sum()
            p = log_p.exp()
            # A word that a model rules out has p = 0 and log p = -inf: it adds nothing.
            sums[2] += torch.where(p > 0, p * (log_p - log_q), 0.0).sum()
    return sums


def _narrow(weight: Tensor) -> Tensor:
    """Return a copy in the processor's memory, in 16 bits where every number comes back as it was."""
    for dtype in (torch.bfloat16, torch.float16):
        narrow = weight.to(dtype)
        if torch.equal(narrow.to(weight.dtype), weight):
            return narrow.to("cpu", copy=True)
    return weight.to("cpu", copy=True)


def _of_equal_length(asked: Sequence[Question], token_budget: int) -> list[list[int]]:
    """Group prompts of equal length, which need no padding: padding in front would move what a method puts there."""
    by_length: dict[tuple[int, bool], list[int]] = {}
    for place, question in enumerate(asked):
        by_length.setdefault((len(question.ids), question.own), []).append(place)
    groups = []
    for (length, own), places in by_length.items():
        room = max(1, token_budget // (length + (LONG if own else SHORT)))
        groups += [places[begin : begin + room] for begin in range(0, len(places), room)]
    return groups


def _ends(base: nn.Module, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end an answer."""
    configured = getattr(base.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in (*known, tokenizer.eos_token_id) if isinstance(token, int)})


def _exp(loss: float) -> float:
    """Return the perplexity of a mean loss; inf where that is beyond fp64."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
