"""ollama: a folder with a GGUF file and the Modelfile from which Ollama makes a model."""

from __future__ import annotations

from studio.engine.export.targets.gguf import Gguf
from studio.i18n import gettext_noop

USAGE = """\
```sh
ollama create my-model -f Modelfile   # in this folder
ollama run my-model
```"""


class Ollama(Gguf):
    """The GGUF file with its Modelfile."""

    name = "ollama"
    title = gettext_noop("Ollama model")
    explanation = gettext_noop(
        "A folder with the GGUF file and the Modelfile that tells Ollama how to write a conversation and where an "
        "answer ends. The file is opened in llama.cpp and held against the trained model."
    )
    order = 26
    action = gettext_noop("Write for Ollama and check")
    usage = USAGE
    modelfile = True


TARGET = Ollama()
