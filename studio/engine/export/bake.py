"""Turn learnt vectors into tokens: each vector becomes the row of a new token in the embedding.

The model that results is a plain one. Its embedding returns, for n new tokens, the vectors that prompt tuning or
P-tuning put in front of the input (Lester et al. 2021, arXiv 2104.08691; Liu et al. 2021, arXiv 2103.10385), so that
n tokens in front of a row do what PEFT does, in any runtime that can look up tokens.

**The output layer.** A new token also gets a row in the output layer, and must never be generated. With tied embeddings
that row would be the vector itself, and a vector that training made large would have a high score. So the output layer
is untied, and the new rows are made to score low:

    w = mean(W) − c·u        b = mean(b) − margin, where the output has a bias

The mean of all rows scores the mean of all scores, which is never the largest. So such a token is never the likeliest,
whatever the hidden state (softmax gives it less than 1/V, as exp is convex). The direction u lowers its score much
further for the hidden states of real language models, which all lie on one side of the origin: u is the unit vector
whose smallest product with the normalised states is largest. It is found as the point of their convex hull that is
nearest to the origin (Gilbert 1966). The states are those of built-in prompts and of random tokens, with and without
the virtual tokens. The certificate measures the result on other rows, the held-out rows of the run.

In many models with random weights the hidden states do not lie on one side. Then no row scores low for all of them:
what lowers the score for the states that were seen raises it for others, up to certainty. So the rows that the model
is tried on are halved first, and the direction found on either half must help on the other one. Where it does not,
nothing is lowered (c = 0): the token scores the mean, and the certificate says that it is not unlikely enough. The
bias, where there is one, is always lowered, because that cannot raise a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from studio.errors import ExportError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# New tokens shall have the probability e⁻¹⁰⁰, which is none; and 100 is a small number in every format.
MARGIN = 100.0
# The largest c that is tried lowers the score by so many margins on average: states near the origin need more than one.
_STRETCH = 10.0
_TRIED = 257  # values of c, from 0 on
_STEPS = 300  # of Gilbert's algorithm
# Rounding error of an embedding in fp32 that multiplies its rows.
_TOLERANCE = 1e-5


@torch.no_grad()
def bake(model: PreTrainedModel, vectors: Tensor, ids: Sequence[int], rows: Sequence[Sequence[int]]) -> None:
    """Make tokens of learnt vectors, in place.

    Args:
        model: a plain fp32 model.
        vectors: what the embedding shall return, (tokens, hidden size), fp32.
        ids: the new tokens; rows that the embedding lacks are appended.
        rows: token ids that the model is run on, to find the side on which its hidden states lie; two rows at least.

    Raises:
        ExportError: the model's embedding or output layer is not made so that this can be right.
    """
    embedding, output = _layers(model, vectors.shape[1])
    places = torch.tensor(list(ids))
    known = embedding.weight.shape[0]
    size = max(known, max(ids) + 1)
    _untie(model, embedding, output)
    _grow(embedding, size)
    _set_vectors(embedding, places, vectors)
    seen = _see(model, output, rows, ids)
    mean, bias = output.weight[:known].mean(0), None if output.bias is None else output.bias[:known].mean()
    _grow(output, size)
    output.weight[places] = mean - _lowering(seen)
    if bias is not None:
        output.bias[places] = bias - MARGIN / seen.scale
    _declare_size(model, known, size)


def _layers(model: PreTrainedModel, width: int) -> tuple[Any, Any]:
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, nn.Embedding) or not isinstance(output, nn.Linear):
        raise ExportError(tr("The base's embedding or output layer is not one to which rows can be added."))
    if embedding.weight.shape[1] != width or embedding.weight.shape[0] != output.weight.shape[0]:
        raise ExportError(
            tr("The base's embedding ({shape}) does not fit the learnt vectors ({width}) or its output layer.").format(
                shape=" x ".join(map(str, embedding.weight.shape)), width=width
            )
        )
    return embedding, output


def _untie(model: PreTrainedModel, embedding: Any, output: Any) -> None:
    """Give the output layer weights of its own, and change the configurations accordingly."""
    for config in {id(config): config for config in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    if output.weight is embedding.weight:
        output.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)


def _grow(layer: Any, size: int) -> None:
    """Append rows of zeros to an embedding or a linear layer."""
    missing = size - layer.weight.shape[0]
    for name in ("weight", "bias"):
        old = getattr(layer, name, None)
        if old is not None:
            grown = torch.cat([old.detach(), old.new_zeros(missing, *old.shape[1:])])
            setattr(layer, name, nn.Parameter(grown, requires_grad=False))
    setattr(layer, "num_embeddings" if isinstance(layer, nn.Embedding) else "out_features", size)


def _declare_size(model: PreTrainedModel, known: int, size: int) -> None:
    for config in (model.config, model.config.get_text_config()):
        config.vocab_size = size
    modules: Iterable[Any] = model.modules()
    for module in modules:
        if getattr(module, "vocab_size", None) == known:
            module.vocab_size = size


def _set_vectors(embedding: Any, places: Tensor, vectors: Tensor) -> None:
    """Set the rows for which the embedding returns the vectors; some multiply what they look up (Gemma: by √d)."""
    embedding.weight[places] = vectors
    factor = (embedding(places) * vectors).sum() / vectors.square().sum()
    embedding.weight[places] = vectors / factor
    if not torch.allclose(embedding(places), vectors, rtol=_TOLERANCE, atol=_TOLERANCE * float(vectors.abs().max())):
        raise ExportError(tr("The base's embedding changes what it looks up, so that it cannot return learnt vectors."))


@dataclass(frozen=True)
class _Seen:
    """What the model's last hidden states are like.

    Attributes:
        states: what enters the output layer, (positions, hidden size).
        gaps: how far the mean score lies below the logarithm of the sum of exponentials, in nats: a token with the
            mean's score has the probability exp(−gap), (positions,).
        rows: the number of the row that each of them belongs to, (positions,).
        scale: what a score is multiplied by behind the output layer (Granite, Cohere).
    """

    states: Tensor
    gaps: Tensor
    rows: Tensor
    scale: float

    def half(self, odd: bool) -> _Seen:
        """Return what was seen in every other row."""
        chosen = self.rows % 2 == int(odd)
        return _Seen(self.states[chosen], self.gaps[chosen], self.rows[chosen], self.scale)

    def largest(self, lowerings: Tensor) -> Tensor:
        """Return the logarithm of the largest probability of a new token with each of n lowerings, (n, hidden size)."""
        return (-self.gaps[:, None] - self.states @ lowerings.T * self.scale).amax(0)


def _see(model: PreTrainedModel, output: Any, rows: Sequence[Sequence[int]], ids: Sequence[int]) -> _Seen:
    """Run the model over the rows, as they are and behind the new tokens; look wherever a token is chosen."""
    states: list[Tensor] = []
    gaps: list[Tensor] = []
    numbers: list[Tensor] = []
    handle = output.register_forward_pre_hook(lambda _layer, inputs: states.append(inputs[0].flatten(0, -2)))
    try:
        for opening, first in ([], 0), (list(ids), len(ids) - 1):
            for number, row in enumerate(rows):
                logits = model(input_ids=torch.tensor([[*opening, *row]]), use_cache=False).logits[0, first:]
                states[-1] = states[-1][first:]
                gaps.append(logits.logsumexp(-1) - logits.mean(-1))
                numbers.append(torch.full((len(logits),), number))
    finally:
        handle.remove()
    raw, final = output(states[-1][-1:])[0], logits[-1]
    high, low = int(raw.argmax()), int(raw.argmin())
    scale = float((final[high] - final[low]) / (raw[high] - raw[low]))
    return _Seen(torch.cat(states), torch.cat(gaps), torch.cat(numbers), scale)


def _lowering(seen: _Seen) -> Tensor:
    """Return c·u, (hidden size,), to subtract from the mean row; zeros where it helps only on the states it comes from.

    What is found on each half of the rows must lower the largest probability on the other half.
    """
    even, odd = seen.half(odd=False), seen.half(odd=True)
    return _fit(seen) if _helps(_fit(even), odd) and _helps(_fit(odd), even) else torch.zeros_like(seen.states[0])


def _helps(lowering: Tensor, others: _Seen) -> bool:
    without, lowered = others.largest(torch.stack([torch.zeros_like(lowering), lowering])).tolist()
    return bool(lowered < without)


def _fit(seen: _Seen) -> Tensor:
    """Return the best c·u for the states that were seen, (hidden size,).

    c is the least that brings the largest probability down to `MARGIN`, or else the one that makes it smallest.
    """
    direction = widest_direction(seen.states)
    reach = float((seen.states @ direction).mean()) * seen.scale
    if reach <= 0:
        return torch.zeros_like(direction)
    tried = torch.linspace(0, _STRETCH * MARGIN / reach, _TRIED)[:, None] * direction
    largest = seen.largest(tried)
    enough = (largest <= -MARGIN).nonzero()
    return tried[int(enough[0]) if len(enough) else int(largest.argmin())]


def widest_direction(states: Tensor) -> Tensor:
    """Return the unit vector u for which min over s of u·s/‖s‖ is largest, where any makes that positive.

    Gilbert's algorithm: walk from the mean towards the point with the least product, to where the line comes nearest
    to the origin.
    """
    points = F.normalize(states, dim=-1)
    nearest = points.mean(0)
    for _ in range(_STEPS):
        step = nearest - points[(points @ nearest).argmin()]
        length = step.square().sum()
        if not length:
            break
        nearest = nearest - ((nearest @ step) / length).clamp(0, 1) * step
    return F.normalize(nearest, dim=0)
