"""gguf: one file for llama.cpp, and for the many programs that are made with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.engine.export.base import ModelTarget, Target
from studio.engine.export.gguf.formats import FORMATS
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from studio.engine.export.prefix import Prefix
    from studio.engine.export.source import Source
    from studio.engine.methods import Method

USAGE = """\
```sh
llama-cli -m path/to/the/file.gguf        # llama.cpp
```
LM Studio, Jan, GPT4All and other programs made with llama.cpp open the file too."""
# What other targets and other programs call these formats.
_ALSO = {"fp32": "f32", "float32": "f32", "fp16": "f16", "float16": "f16", "bfloat16": "bf16"}


class Gguf(Target):
    """The finished model as one GGUF file.

    Attributes:
        modelfile: whether a Modelfile is written beside it, from which Ollama makes a model.
    """

    name = "gguf"
    title = gettext_noop("GGUF file")
    explanation = gettext_noop(
        "One file for llama.cpp, LM Studio and other programs that run models on ordinary computers, made smaller by "
        "quantisation if you like. It is opened in llama.cpp itself and held against the trained model."
    )
    order = 25
    action = gettext_noop("Write GGUF and check")
    library = "gguf"
    usage = USAGE
    dtypes = tuple(FORMATS)
    plain_model = True
    modelfile = False

    def made_of(self, method: Method) -> ModelTarget:
        from studio.engine.export.targets import baked, merged

        return merged.TARGET if method.mergeable else baked.TARGET

    def refuse(self, method: Method) -> str:
        if method.mergeable or method.bakeable:
            return ""
        return tr("What {method} learns cannot be folded into plain weights, and GGUF holds nothing else.").format(
            method=tr(method.title)
        )

    def choose_dtype(self, wanted: str, stored: str) -> str:
        return (
            ("bf16" if stored == "bf16" else "f16") if wanted == "auto" else _ALSO.get(wanted.lower(), wanted.lower())
        )

    def weight_bytes(self, source: Source, dtype: str) -> int:
        """The file, and the model folder and the F16 file that are there while it is made."""
        from studio.engine.export.gguf.sizes import predict_sizes

        return predict_sizes(source.base, source.method.virtual_tokens(source.config.method))[dtype] + int(
            source.info.parameters * 6
        )

    def prefix(self, source: Source, tokenizer: PreTrainedTokenizerBase) -> Prefix:
        from studio.errors import ExportError

        found = self.made_of(source.method).prefix(source, tokenizer)
        if found.ids and not found.in_template:
            raise ExportError(
                tr(
                    "llama.cpp puts nothing but BOS in front of a text, so the virtual tokens of a Base model would be "
                    "missing; export it as a model with the prompt built in."
                )
            )
        return found


TARGET = Gguf()
