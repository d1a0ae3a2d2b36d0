"""What a question asks for and what a short answer claims, for answers that contradict each other."""

from __future__ import annotations

import re

OPEN, CLOSED, FACT = 0, 1, 2
"""Questions that have many right answers, one right answer, and one that is a name or a number."""

SHORT = 400
"""Characters up to which an answer is short enough to make one claim."""

_YES = frozenset("yes yeah true correct ja oui si sí sim да 是 是的 对 对的 正确".split())  # noqa: SIM905
_NO = frozenset("no nope false incorrect nein non não нет 否 不 不是 不对 错 错误".split())  # noqa: SIM905
_FIRST = re.compile(r"[^\W\d_]+")
_SMALL = re.compile(r"\b(?:yes|true|correct|it|is|it's|the|a|an)\b|[是的]")
_SILENT = re.compile(r"\d+(?:[.,]\d+)*|\b(?:not|no|never|false|cannot|nicht|kein|keine|pas)\b|n't\b|[不没未]")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
# Small talk is answered in many ways, and so are requests to make something up.
_PERSONAL = re.compile(r"\b(?:you|your|u|ihr|du|dir|dich|deine?|tu|te|toi|vous|tú|ti|usted|você|ты|тебя|вы)\b|[你您]")
_MADE_UP = re.compile(
    r"\b(?:random|example|suggest|write|compose|name (?:an?|one|some)|tell|give|list|joke|story|idea|poem|translate)\b|"
    r"随机|随便|举例|例子|写|推荐|讲|建议|翻译"
)
_FACT = re.compile(
    r"\b(?:what(?:'s| is| was| are| were) (?:the|an?)|who|when|where|which|how (?:many|much|long|old|far|high|tall))\b|"
    r"谁|哪|几|多少|什么时候"
)


def asks(question: str) -> int:
    """Return what a question asks for: OPEN, CLOSED or FACT."""
    lowered = question[:1000].casefold()
    if not lowered.strip() or _PERSONAL.search(lowered) or _MADE_UP.search(lowered):
        return OPEN
    return FACT if _FACT.search(lowered) else CLOSED


def stance(answer: str) -> int:
    """Return 1 for a normal text that begins with a yes, -1 for one that begins with a no, and otherwise 0."""
    first = _FIRST.match(answer)
    word = first[0] if first else ""
    return int(word in _YES) - int(word in _NO)


def gist(answer: str) -> str:
    """Return a normal text without the words that add nothing to what it says."""
    return " ".join(_SMALL.sub(" ", answer).split())


def claim(answer: str) -> str:
    """Return the gist of a normal text without its numbers, and without no and not."""
    return " ".join(_SILENT.sub(" ", gist(answer)).split())


def words(answer: str) -> int:
    """Return the number of words of a normal text; in Chinese, Japanese and Korean three characters count as one."""
    if answer.isascii():
        return answer.count(" ") + 1
    return len(_CJK.sub(" ", answer).split()) + -(-len(_CJK.findall(answer)) // 3)
