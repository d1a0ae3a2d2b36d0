"""How large a GGUF file will be, before anything is trained or written: from the headers of the base's files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from studio.engine.export.gguf.convert import make_plan, rows_of
from studio.engine.export.gguf.formats import FORMATS
from studio.engine.export.gguf.layout import Weights
from studio.engine.export.gguf.vocabulary import CONTROL, UNUSED, read_vocabulary


def predict_sizes(base: Path, added: int = 0) -> dict[str, int]:
    """Return the bytes of the file in each format, by name.

    Args:
        added: tokens that baking adds to the vocabulary (`bake`). The output layer then has weights of its own, also
            where the base's are those of the embedding. The longer chat template is not counted.

    Raises:
        ExportError: there can be no such file.
    """
    from studio.engine.models.config import load_config

    config, shapes = load_config(base).to_dict(), Weights(base).shapes
    vocabulary = read_vocabulary(base, rows_of(shapes))
    if added:
        ends = [name for name in shapes if name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight"))]
        rows, width = shapes[ends[0]]
        unused = sum(kind == UNUSED for kind in vocabulary.types)
        more = max(0, added - unused)
        shapes |= dict.fromkeys([*ends, "lm_head.weight"], (rows + more, width))
        config |= {"tie_word_embeddings": False}
        vocabulary = dataclasses.replace(
            vocabulary,
            tokens=(*vocabulary.tokens, *(f"<|virtual-{number}|>" for number in range(more))),
            types=(*vocabulary.types, *(CONTROL,) * more),
            scores=(*vocabulary.scores, *(0.0,) * more) if vocabulary.scores else (),
        )
    return {name: make_plan(config, shapes, vocabulary, chosen, base.name).bytes() for name, chosen in FORMATS.items()}
