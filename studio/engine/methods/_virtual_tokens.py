"""Virtual tokens: what the methods that learn them share, and where they start, at tokens that the model knows.

Lester et al. 2021 (arXiv 2104.08691, section 3.2) start at common words or at words that say what is asked, which
makes most of the difference in small models; Li & Liang 2021 (arXiv 2101.00190, section 7.4) start a prefix at what
the model computes for real words.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypeVar

from studio.config.method import MethodConfig
from studio.config.option import option
from studio.engine.methods._peft import PeftMethod, encoder_of
from studio.errors import ConfigError
from studio.i18n import gettext_noop, tr

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

# Tokenizers number their tokens by how common they are, all but a few special ones; the paper takes as many.
_COMMON = 5000


class SoftPromptConfig(MethodConfig):
    """How many vectors stand in front of the input."""

    virtual_tokens: int = option(
        20,
        "Virtual tokens",
        "n, the learnt vectors in front of every row. 20 to 100 is customary; each is one more position to read, "
        "in training and in use.",
        unit=gettext_noop("tokens"),
        ge=1,
        le=4096,
    )


S = TypeVar("S", bound=SoftPromptConfig, default=Any)


class SoftPrompt(PeftMethod[S]):
    """A method that learns vectors in front of the input. They can become tokens of the vocabulary."""

    bakeable = True
    cost_in_use = gettext_noop(
        "Every answer reads the virtual tokens first: so many more positions in the prompt and in the cache."
    )

    def virtual_tokens(self, config: S) -> int:
        return config.virtual_tokens

    def refuse(self, skeleton: PreTrainedModel, config: S) -> str:
        if getattr(skeleton.config.get_text_config(), "hidden_size_per_layer_input", None):
            return tr(
                "This model looks every token up again in each layer, so learnt vectors, which are no tokens, cannot "
                "stand in front of a row; take LoRA."
            )
        return ""

    def input_vectors(self, loaded: nn.Module) -> Tensor:
        vectors: Tensor = encoder_of(loaded).embedding.weight.detach().float()
        return vectors


def input_sizes(model: PreTrainedModel) -> dict[str, int]:
    """Return what peft asks for of a model whose config it cannot read (MPT, XGLM, Mamba): all sizes, by its names."""
    config: Any = model.config.get_text_config()
    embedding: Any = model.get_input_embeddings()
    return {
        "token_dim": embedding.weight.shape[1],  # in a few models (OPT-350m) the hidden size is another
        "num_layers": config.num_hidden_layers,
        "num_attention_heads": getattr(config, "num_attention_heads", 1),
    }


def common_tokens(model: PreTrainedModel, count: int) -> Tensor:
    """Draw `count` of the commonest tokens, (count,)."""
    import torch

    embedding: Any = model.get_input_embeddings()
    return torch.randint(min(embedding.weight.shape[0], _COMMON), (count,))


def tokens_of(text: str, model: PreTrainedModel, count: int) -> Tensor:
    """Return the tokens of a text, cut or repeated to `count`, (count,). Raises `ConfigError` where it has none."""
    import torch

    from studio.engine.models.load import load_tokenizer

    ids = load_tokenizer(Path(str(model.name_or_path)))(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ConfigError(tr("method.init_text = {text}: it has no tokens; write some words.").format(text=repr(text)))
    return torch.tensor((ids * (1 + count // len(ids)))[:count])


def word_vectors(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Return what enters the first layer for these tokens, (tokens, d), fp32; some models scale what they look up."""
    import torch

    embedding: Any = model.get_input_embeddings()
    with torch.no_grad():
        vectors: Tensor = embedding(ids.to(embedding.weight.device)).float()
    return vectors


def sizes_of_keys_and_values(skeleton: PreTrainedModel) -> list[tuple[int, int]]:
    """Return heads and size of the keys, and of the values, of every layer; none where that takes real weights."""
    import torch

    ids = torch.zeros((1, 2), dtype=torch.int64, device="meta")
    try:
        with torch.no_grad():
            cache = skeleton(input_ids=ids, use_cache=True).past_key_values
    except (RuntimeError, NotImplementedError):  # what a router chooses depends on values
        return []
    return [(part.shape[1], part.shape[3]) for layer in cache.layers for part in (layer.keys, layer.values)]


def keys_and_values(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Return what attention keeps of these tokens, as peft lays a prefix out: (tokens, 2 · layers · heads · size).

    Raises `ConfigError` where the layers do not all keep as much.
    """
    import torch

    device = [parameter.device for parameter in model.parameters()][-1]  # the first one's embedding may be elsewhere
    with torch.no_grad():
        cache = model(input_ids=ids[None].to(device), use_cache=True).past_key_values
    kept = [part[0] for layer in cache.layers for part in (layer.keys, layer.values)]
    heads, count, size = kept[0].shape
    if count < len(ids):
        raise ConfigError(
            tr(
                "method.virtual_tokens = {count}: attention of this model sees {window} positions only; take fewer."
            ).format(count=len(ids), window=count + 1)
        )
    if any(part.shape != (heads, count, size) for part in kept):
        raise ConfigError(tr("The layers of this model keep keys and values of different sizes; take another method."))
    return torch.stack(kept).permute(2, 0, 1, 3).flatten(1).float()
