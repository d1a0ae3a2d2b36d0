"""baked: one ordinary model, whose vocabulary has the learnt vectors as tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.engine.dtypes import BYTES
from studio.engine.export.targets.merged import PlainModel
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.prefix import Prefix
    from studio.engine.export.source import Source
    from studio.engine.methods import Method

# What the output layer is tried on beside the built-in prompts: rows of tokens that nobody wrote.
_RANDOM_ROWS, _RANDOM_TOKENS = 4, 64


class Baked(PlainModel):
    """The learnt vectors as tokens of the vocabulary."""

    name = "baked"
    title = gettext_noop("Model with the prompt built in")
    explanation = gettext_noop(
        "One ordinary Hugging Face model: the learnt vectors become tokens of its vocabulary, which its chat template, "
        "or for a Base model its tokenizer, puts in front of every row, and which it never says. It loads everywhere "
        "the base does and needs no PEFT. It is slower only by the virtual tokens to be read. As large as the base; "
        "where that shares its embeddings with its output layer, larger by one of these, which can be a fifth of a "
        "small model."
    )
    order = 15
    action = gettext_noop("Build in, export and check")
    adds_tokens = True

    def refuse(self, method: Method) -> str:
        if method.bakeable:
            return ""
        reason = (
            tr("{method} changes weights, and leaves no vectors that could become tokens.")
            if method.mergeable
            else tr("What {method} learns acts inside the layers, where no token of a vocabulary reaches.")
        )
        return reason.format(method=tr(method.title))

    def weight_bytes(self, source: Source, dtype: str) -> int:
        rows, width = source.info.shapes.embedding
        untied = rows * width if source.info.shapes.tied_embeddings else 0
        added = 2 * width * source.method.virtual_tokens(source.config.method)
        return int((source.info.parameters + untied + added) * BYTES[dtype])

    def prefix(self, source: Source, tokenizer: PreTrainedTokenizerBase) -> Prefix:
        from studio.engine.export.prefix import extend

        return extend(tokenizer, source.method.virtual_tokens(source.config.method), source.kind)

    def finish(self, source: Source, loaded: nn.Module, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
        from studio.engine.export.bake import bake
        from studio.engine.export.prompts import built_in_prompts

        vectors = source.method.input_vectors(loaded)
        model = loaded.get_base_model()  # type: ignore[operator]
        rows = [prompt.ids for prompt in built_in_prompts(source, tokenizer)]
        bake(model, vectors, self.prefix(source, tokenizer).ids, [*rows, *_random_rows(len(tokenizer))])
        return model  # type: ignore[no-any-return]


def _random_rows(vocabulary: int) -> list[list[int]]:
    """The same ones every time, so that an export can be verified later."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows: list[list[int]] = torch.randint(vocabulary, (_RANDOM_ROWS, _RANDOM_TOKENS), generator=generator).tolist()
    return rows


TARGET = Baked()
