"""The memory of training in bytes, by component, from the shapes of a model and a configuration alone.

Weights, gradients and optimizer states follow from counts (Rajbhandari et al. 2020, ZeRO, section 3), activations from
the shapes (`models.activations`), and with recomputation from the inputs of the blocks (Chen et al. 2016). What is not
at its largest at one time is not added up: each moment at which a run may be at its peak is computed by itself, and
the largest counts. `tests/benchmarks/memory_estimate.py` measures it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from studio.config import RunConfig
from studio.engine.dtypes import BYTES
from studio.engine.fit import PIECE, PORTION, Fit, in_fp32, state_bytes
from studio.engine.methods import METHODS
from studio.engine.models.activations import BytesPerActivation, mask_bytes, model_bytes
from studio.engine.models.shapes import ModelShapes, is_output, is_word_embedding, layer_number
from studio.engine.models.storage import Storage
from studio.engine.precision import Precision
from studio.engine.precision.choose import choose_storage

_MIB = 1 << 20
# Measured on Linux x86-64: interpreter, torch, transformers, datasets and their buffers; peft with what it imports.
_RUNTIME, _RUNTIME_OF_PEFT = 485 * _MIB, 55 * _MIB
# What activations leave between each other on glibc's heap, as a share of them: measured 0.6 to 1.3 on SmolLM2-135M.
# Without holes, every tensor in pages of its own, an update takes a quarter longer.
_HOLES = 0.95
# Numbers in work in the backward pass of a block, of the width of its widest layer: measured at full size.
_IN_WORK = 3
# Block inputs on their way to host memory and back, at a time.
_ON_THE_WAY = 2


@dataclass(frozen=True, kw_only=True)
class Work:
    """One micro-batch: `rows` of `length` tokens each; `several` of them make an update."""

    rows: int
    length: int
    several: bool = True


def micro_batch(config: RunConfig, budget: int) -> Work:
    """Return the largest micro-batch: rows of the greatest length, as many as a budget of tokens allows."""
    length = config.data.max_length
    rows = min(config.training.batch_size, max(1, budget // length))
    return Work(rows=rows, length=length, several=rows < config.training.batch_size)


def storage_for(config: RunConfig, precision: Precision) -> Storage:
    """Return in which formats a run keeps the weights of its base."""
    method = METHODS.get(config.method.name)
    return Storage(
        frozen=choose_storage(config.precision, precision),
        products=precision.autocast or "fp32",
        rest=precision.parameters,
        trained=lambda name: method.trains(name, config.method),
    )


class Formula:
    """The memory that a configuration takes on a kind of device, whichever way it is made to fit.

    Args:
        device: its type: cpu, cuda or mps. On a processor it is the memory of the process, on a GPU that of tensors.
        parts: over how many processes the weights are spread (`studio.engine.sharding`); the memory is that of one.
    """

    def __init__(
        self, shapes: ModelShapes, config: RunConfig, precision: Precision, device: str, *, parts: int = 1
    ) -> None:
        self._parts = parts
        self._shapes, self._config, self._precision, self._device = shapes, config, precision, device
        self._method = METHODS.get(config.method.name)
        self._storage = storage_for(config, precision)
        self._trained = self._method.trainable_parameters(shapes, config.method)
        self._compute, self._residual = BYTES[precision.autocast or "fp32"], BYTES[precision.parameters]
        # On a processor attention computes in fp32 in a mixed precision (`kernels.attention`).
        attention = 4 if device == "cpu" else self._compute
        self._sizes = BytesPerActivation(residual=self._residual, compute=self._compute, attention=attention)
        linear = [(layer.inputs, layer.outputs) for layer in shapes.linear_layers]
        self._linear = sum(inputs * outputs for inputs, outputs in linear)
        self._largest = max((inputs * outputs for inputs, outputs in linear), default=0)
        self._widest = max((max(sides) for sides in linear), default=0)
        self._words = shapes.embedding[0]
        self._weights = self._storage.bytes(shapes)
        self._looked_up = self._storage.bytes(shapes, self._storage.looked_up(shapes))
        self._added = self._method.activation_bytes(shapes, config.method, self._sizes)
        self._activations = functools.cache(self._kept_of)

    def components(self, fit: Fit, work: Work | None = None) -> dict[str, int]:
        """Return the memory of training at its peak in bytes by component, in the order of the bars.

        Components: runtime (processor only: the program and its libraries), weights, gathered (whole weights and
        gradients of the layers at work, where each process holds a part of all), conversions (weights in the
        format of products, beside those in another format), loading (what loading needs beyond all else), gradients,
        optimizer, activations (with what their gradients need in work), holes (processor only: free memory between
        activations, where nothing else fits), logits.

        Args:
            fit: how training is made to fit.
            work: a micro-batch, if not the largest one of `fit`.
        """
        on_cpu = self._device == "cpu"
        weights = self._weights + (0 if self._method.form == "model" else int(self._trained * self._residual))
        if fit.words_on_host:
            weights -= self._looked_up
        trained = self._trained // self._parts
        whole, weights = weights, weights // self._parts
        gradients, states = trained * 4, state_bytes(self._config.training.optimizer, trained)
        gathered = self._gathered()
        moments = self._moments(fit, work or micro_batch(self._config, fit.micro_batch_tokens), gradients)
        peak = max(moments, key=lambda moment: sum(moment.values()))
        step = int(min(trained, PORTION) * (self._residual + states / max(1, trained)))
        if sum(peak.values()) < step:  # the weights and states that `apply_step` copies
            peak, states = {}, states + step
        holes = int(_HOLES * peak.get("activations", 0)) if on_cpu else 0
        training = weights + gathered + gradients + states + holes + sum(peak.values())
        # A tensor is read, into the memory of the processor, before it is put into its format, on its device.
        largest = max(map(self._shapes.size, self._shapes.tensors), default=0) if on_cpu else self._largest
        loading = (whole if on_cpu else weights + gathered) + 2 * largest
        runtime = _RUNTIME + (_RUNTIME_OF_PEFT if self._method.form == "peft" else 0)
        return {
            "runtime": runtime if on_cpu else 0,
            "weights": weights,
            "gathered": gathered,
            "conversions": peak.get("conversions", 0),
            "loading": max(0, loading - training),
            "gradients": gradients,
            "optimizer": states,
            "activations": peak.get("activations", 0),
            "holes": holes,
            "logits": peak.get("logits", 0),
        }

    def of_card(self, fit: Fit, layers: Sequence[int], *, main: bool) -> dict[str, int]:
        """Return the memory of one of several GPUs that the layers are spread over, by component.

        It is at most this: all that a card holds at one moment or another is added up. Each layer adds the same,
        whatever other layers are there (`split.split_blocks` counts on that).

        Args:
            layers: the numbers of those that it holds.
            main: whether it also holds everything outside of the layers, and computes the loss.
        """
        share = len(layers) / max(1, self._shapes.layers)
        trained = share * self._trained
        loss, back = self._moments(fit, micro_batch(self._config, fit.micro_batch_tokens), 0)
        in_work = back["activations"] - loss["activations"]
        weights = sum(self._bytes_by_layer.get(layer, 0) for layer in layers)
        if main:
            weights += self._bytes_by_layer[None] - (self._looked_up if fit.words_on_host else 0)
        logits = loss["logits"] if main else 0
        return {
            "weights": weights + int(trained * self._residual),
            "conversions": int(share * self._converted()) + (self._head() if main else 0),
            "loading": max(0, 2 * self._largest - in_work - logits),
            "gradients": int(trained * 4),
            "optimizer": int(share * state_bytes(self._config.training.optimizer, self._trained)),
            # What waits for its way to the host does so once on each card.
            "activations": int((1 if fit.on_host else share) * loss["activations"]) + in_work,
            "logits": logits,
        }

    def of_layers(self, fit: Fit) -> list[int]:
        """Return the bytes that each layer adds to the memory of its GPU."""
        nothing, first = (sum(self.of_card(fit, layers, main=False).values()) for layers in ((), (0,)))
        weights = [self._bytes_by_layer.get(layer, 0) for layer in range(self._shapes.layers)]
        return [first - nothing + own - weights[0] for own in weights]

    @functools.cached_property
    def _bytes_by_layer(self) -> dict[int | None, int]:
        """Bytes of the base's weights in each layer; those outside of the layers under None."""
        names: dict[int | None, list[str]] = {None: [*self._shapes.other]}
        for name in self._shapes.tensors:
            names.setdefault(layer_number(name), []).append(name)
        return {layer: self._storage.bytes(self._shapes, found) for layer, found in names.items()}

    def kept(self, fit: Fit, work: Work) -> int:
        """Return the bytes that are kept from the forward to the backward pass of a micro-batch.

        They are what autograd keeps, trained weights in the format of products, and the gradients that the loss has
        made: of what the output layer reads, and of its weights.
        """
        of_hidden = self._stream(work.rows * work.length)
        of_head = self._words * self._shapes.hidden_size * 4 if self._method.form == "model" else 0
        conversions = 0 if fit.recompute else self._converted()
        return self._activations_of(fit, work) + conversions + of_hidden + of_head

    def _activations_of(self, fit: Fit, work: Work) -> int:
        """Bytes of activations that are kept of a micro-batch."""
        everything = self._activations(work.rows, work.length)
        if not fit.recompute:
            return everything
        inputs = self._stream(work.rows * (work.length + self._method.virtual_tokens(self._config.method)))
        # And what the last norm reads; trained, it keeps what it has made of that as well.
        last = 2 * inputs if self._method.form == "model" else inputs
        last += mask_bytes(self._shapes, work.rows, work.length)
        return min(everything, inputs * (_ON_THE_WAY if fit.on_host else max(1, self._shapes.layers)) + last)

    def _stream(self, positions: int) -> int:
        """Bytes of what enters a layer, or of its gradient."""
        return int(positions * self._shapes.hidden_size * self._residual)

    def _gathered(self) -> int:
        """Bytes of what one process holds whole for a while: what is outside of the blocks, and two of these.

        The weights of the next block come while one computes. Each has its gradient beside it on the way back.
        """
        if self._parts == 1:
            return 0
        outside = sum(self._shapes.size(name) for name in self._shapes.tensors if layer_number(name) is None)
        block = (self._shapes.parameters - outside) / max(1, self._shapes.layers)
        return int(2 * (outside + 2 * block) * self._residual)

    def _moments(self, fit: Fit, work: Work, gradients: int) -> list[dict[str, int]]:
        """What is held beside weights, gradients and states at the loss, and as the first block goes backward."""
        tokens = work.rows * (work.length + self._method.virtual_tokens(self._config.method))
        everything, converted = self._activations(work.rows, work.length), self._converted()
        # What the output layer reads, and its gradient, where there is a label; at most everywhere.
        hidden = self._stream(work.rows * work.length)
        kept, block, converted_then = self._activations_of(fit, work), 0, converted
        layers = max(1, self._shapes.layers)
        if fit.recompute:
            # The input of the block is kept in any case.
            block, converted_then = max(0, everything // layers - self._stream(tokens)), converted // layers
        in_work = self._one_weight() + int(self._added.in_work)
        going_back = int(_IN_WORK * tokens * self._widest * self._compute) + in_work
        if not work.several:
            # Gradients grow where what is kept goes: they do not meet in an update of a single backward pass.
            kept = max(0, kept - gradients)
        return [
            {
                "activations": kept,
                # Copies are dropped after each block where its weights are.
                "conversions": (converted // layers if fit.recompute and self._parts > 1 else converted) + self._head(),
                "logits": 2 * hidden + self._logits(work.rows * work.length),
            },
            {"activations": kept + block + going_back, "conversions": converted_then, "logits": hidden},
        ]

    def _kept_of(self, rows: int, length: int) -> int:
        """Bytes that autograd keeps of a micro-batch, where nothing is recomputed."""
        virtual = self._method.virtual_tokens(self._config.method)
        # A prefix is in the cache, where a mask says who sees it. Padding on the right needs none.
        masked = self._method.positions(self._config.method) > virtual
        saved = model_bytes(self._shapes, self._sizes, length + virtual, masked=masked) + self._added.per_token
        return int(rows * (length + virtual) * saved + self._added.of_weights)

    def _one_weight(self) -> int:
        """Bytes of the largest layer's weight in the format of products, or of its gradient, while they are needed."""
        if self._method.form == "model":
            return int(self._largest * (self._compute + (4 if self._compute < 4 else 0)))
        return int(self._largest * self._compute) if BYTES[self._storage.frozen] < self._compute else 0

    def _converted(self) -> int:
        """Bytes of the 16-bit copies of trained weights, which autocast makes for every micro-batch."""
        if self._compute >= self._residual:
            return 0
        return int(self._compute * (self._linear if self._method.form == "model" else self._trained))

    def _head(self) -> int:
        """Bytes of the output layer's weights in the format of products, where they are stored in another one."""
        names = [name for name in self._shapes.tensors if is_output(name) or is_word_embedding(name)]
        if not names:
            return 0
        name = next(filter(is_output, names), names[0])
        stored = self._shapes.vocabulary_format
        kept = self._storage.format(name, self._shapes.tensors[name], stored, linear=False, vocabulary=True)
        copy = self._words * self._shapes.hidden_size * self._compute
        return 0 if kept == self._storage.products else int(copy)

    def _logits(self, positions: int) -> int:
        """Bytes of a piece of logits, their gradient, and the fp32 part of them in work, with every token learnt."""
        entries = min(positions * self._words, max(PIECE, self._words))
        found = entries * 2 * self._compute + min(entries, max(in_fp32(self._device), self._words)) * 8
        if self._method.form == "model":
            # The gradient of the output layer's weights, and what a piece adds to it.
            found += self._words * self._shapes.hidden_size * 8
        return int(found)
