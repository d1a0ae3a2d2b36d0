"""Chat templates that ship, for Base models that are to learn dialogue.

A template is installed in the tokenizer, not in the model: it uses tokens that the tokenizer has, so that no weight is
added and the trained part stays one of the base. Where the tokens of ChatML are missing there is `headings`, which
needs none but the token that ends a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.config.model import ShippedTemplate
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ChatTemplateSource:
    """A template as Jinja source.

    Attributes:
        tokens: special tokens that it writes.
        end: which of them ends an answer; "" where that is the tokenizer's own end of text.
    """

    source: str
    tokens: tuple[str, ...] = ()
    end: str = ""


# OpenAI, 2023. Qwen, SmolLM and many others speak it.
_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
# What Base models see of a conversation without a template (`data.formats.values.layout`).
_HEADINGS = (
    "{%- for message in messages -%}"
    "{{- ('' if loop.first else '\\n\\n') + '### ' + message['role'] | title + ':\\n' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- ('\\n\\n' if messages else '') + '### Assistant:\\n' -}}{%- endif -%}"
)
CHAT_TEMPLATES: dict[ShippedTemplate, ChatTemplateSource] = {
    "chatml": ChatTemplateSource(_CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    "headings": ChatTemplateSource(_HEADINGS),
}


def install_template(tokenizer: PreTrainedTokenizerBase, name: ShippedTemplate) -> None:
    """Give a tokenizer a chat template, and the token that ends an answer in it as its end token.

    What the tokenizer puts before every text, such as BOS, the template writes too.

    Raises:
        ModelError: the tokenizer lacks a token that the template needs.
    """
    from tokenizers import AddedToken

    template = CHAT_TEMPLATES[name]
    missing = [token for token in template.tokens if token not in tokenizer.added_tokens_encoder]
    if missing:
        raise ModelError(
            tr(
                "model.chat_template = {name}: the tokenizer does not know {tokens}; take headings, which needs no "
                "tokens of its own."
            ).format(name=name, tokens=tr(", ").join(missing))
        )
    if template.end:
        tokenizer.add_special_tokens({"eos_token": AddedToken(template.end, normalized=False, special=True)})
    if tokenizer.eos_token is None:
        raise ModelError(
            tr("model.chat_template = {name}: the tokenizer has no token that ends a text.").format(name=name)
        )
    first = tokenizer("")["input_ids"][:1]
    opens = bool(first) and first[0] == tokenizer.bos_token_id
    tokenizer.chat_template = ("{{- bos_token -}}" if opens else "") + template.source
