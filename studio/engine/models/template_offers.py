"""Which of the chat templates that ship suit a model: whether it has their tokens, and was ever taught them.

Many tokenizers hold tokens that the model never met in pre-training (reserved ones, or those of the Chat model's
template). Their rows of the embedding are then still as they were initialised: much shorter than others, or equal to
each other. A method that leaves the embedding frozen cannot change that, so a template that writes such tokens is not
the one to recommend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studio.engine.models.chat_templates import CHAT_TEMPLATES
from studio.engine.models.info import TemplateOffer
from studio.engine.models.shapes import is_output, is_word_embedding
from studio.engine.models.tokenizer_files import TokenizerFiles
from studio.engine.models.weights import Weights

_SAMPLE = 64  # rows that a token's row is compared with
_SHORT = 0.5  # of the median length of a row: trained rows differ by far less
_EQUAL = 1e-3  # relative difference of two rows


def offer_templates(tokenizer: TokenizerFiles, weights: Weights) -> tuple[TemplateOffer, ...]:
    """Return what speaks against each template, in the order in which they are to be preferred."""
    offers = []
    for name, template in CHAT_TEMPLATES.items():
        missing = tuple(token for token in template.tokens if token not in tokenizer.added)
        if not template.end and "eos_token" not in tokenizer.special:
            missing = ("eos_token",)
        known = {token: tokenizer.added[token] for token in template.tokens if not missing}
        untaught = _untaught(list(known.values()), weights)
        offers.append(TemplateOffer(name, missing, tuple(token for token in known if known[token] in untaught)))
    return tuple(offers)


def _untaught(tokens: Sequence[int], weights: Weights) -> set[int]:
    """Return the tokens whose row of the embedding or of the output layer was never trained, as far as it shows."""
    if not tokens:
        return set()
    found: set[int] = set()
    for name, header in weights.tensors.items():
        if len(header.shape) == 2 and (is_word_embedding(name) or is_output(name)) and header.shape[0] > max(tokens):
            found |= _short_or_equal(weights.places[name], name, header.shape[0], tokens)
    return found


def _short_or_equal(file: Path, name: str, rows: int, tokens: Sequence[int]) -> set[int]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        table = opened.get_slice(name)
        own = {token: table[token : token + 1][0].float() for token in tokens}
        others = [table[row : row + 1][0].float().norm() for row in range(0, rows, max(1, rows // _SAMPLE))]
    median = sorted(float(length) for length in others)[len(others) // 2]
    short = {token for token, row in own.items() if float(row.norm()) < _SHORT * median}
    equal = {
        token
        for token, row in own.items()
        for other, row_of_other in own.items()
        if other != token and float((row - row_of_other).norm()) <= _EQUAL * float(row.norm())
    }
    return short | equal
