"""placeholders: {{name}}, [NAME] or <insert …>, which somebody forgot to fill in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from studio.engine.data.findings.prose import prose
from studio.engine.data.findings.survey import Detector, marked
from studio.engine.data.findings.traits import Texts

if TYPE_CHECKING:
    from studio.engine.data.encoder import Encoding

_NAMES = (
    "name|date|address|email|e-mail|phone|number|company|city|country|title|product|link|url|location|position|"
    "department|amount|price|time|topic|subject|organization|organisation|signature"
)
_BEGINNINGS = "insert|your|enter|fill in|add your|client's|customer's|recipient's|sender's"
_CHINESE = "(?:请?(?:填写|输入|插入)[^\\]】]{0,20}|您?的?(?:姓名|名字|日期|公司名称?|地址|电话|邮箱))"
_PLACEHOLDER = re.compile(
    rf"\{{\{{\s*[A-Za-z_][\w.\- ]*\}}\}}"
    rf"|(?<![\w\])])\[(?:(?:{_BEGINNINGS})\b[^\]\n]{{0,40}}|(?:[a-z']+[ _-]){{0,3}}(?:{_NAMES}))\](?![(\[])"
    rf"|<(?:(?:{_BEGINNINGS})\b[^<>\n]{{0,40}})>"
    rf"|[\[【<]{_CHINESE}[\]】>]",
    re.IGNORECASE,
)
_ASKED = re.compile(r"template|placeholder|boilerplate|模板|模版|占位", re.IGNORECASE)


def mark(texts: Texts, _: Sequence[Encoding]) -> bool:
    """Return whether the prose of a row has a placeholder, although nobody asked for a template."""
    if not any(bracket in texts.everything for bracket in ("{{", "[", "<", "【")):
        return False
    found = _PLACEHOLDER.search(texts.everything)
    return bool(found and not _ASKED.search(texts.question) and _PLACEHOLDER.search(prose(texts.everything)))


FINDING = Detector(name="placeholders", order=60, which=marked(1), remedy="drop_rows", mark=mark, bit=1)
