"""control_tokens: text that spells control tokens of this model or, where rows were rendered before, of another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.engine.data.findings.prose import prose
from studio.engine.data.findings.survey import Detector, marked
from studio.engine.data.findings.traits import Texts

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding

# ChatML, Llama 2 and 3, Gemma, Phi, DeepSeek, GPT-2.
_KNOWN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|start_header_id|end_header_id|begin_of_text|end_of_text|end|user|"
    r"assistant|system)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{1,30}｜>"
)


def mark(texts: Texts, encodings: Sequence[Encoding]) -> bool:
    """Return whether a row spells control tokens of the model, or its prose those of a well-known family."""
    if any(encoding.spelled for encoding in encodings):
        return True
    if texts.answer.rstrip().endswith("</s>") and "<s>" not in texts.answer:  # otherwise it is struck out, as in HTML
        return True
    if "<" not in texts.everything and "[" not in texts.everything:
        return False
    if not _KNOWN.search(texts.everything):
        return False
    return bool(_KNOWN.search(prose(texts.everything.replace("</s>", ""))))  # an end token, and not the end of a tag


FINDING = Detector(name="control_tokens", order=70, which=marked(2), remedy="drop_rows", mark=mark, bit=2)
