"""How a model behaves when it is tried: whether it ends its turn, and whether it goes on with text. Without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from studio.text.behaviour import finding_text

Manner: TypeAlias = Literal["template", "plain", "text"]
"""How a model was asked: a question through its chat template, a question as plain text, or the beginning of a text."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One prompt, and what the model made of it.

    Attributes:
        text: what came, special tokens left out.
        tokens: how many came, the ending one included.
        ended: whether the last of them is one that ends an answer or a text.
    """

    manner: Manner
    prompt: str
    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class BehaviourFinding:
    """A code and the values that its words need (`studio.text.behaviour`)."""

    code: str
    values: tuple[tuple[str, Any], ...]

    def words(self) -> str:
        """Return the sentence in the language of the session."""
        return finding_text(self.code, dict(self.values))


@dataclass(frozen=True)
class Behaviour:
    """What came of trying a model; each prompt got `limit` tokens at most."""

    tried: tuple[Tried, ...]
    limit: int

    @property
    def like(self) -> Literal["base", "chat"] | None:
        """The kind that the model behaves like; None where it ended some of its answers only.

        Only a model with a template can speak: it behaves like a Chat model when it ends every answer by itself.
        """
        answers = [one.ended for one in self.tried if one.manner == "template"]
        if not any(answers):
            return "base"
        return "chat" if all(answers) else None

    @property
    def findings(self) -> tuple[BehaviourFinding, ...]:
        """What was found of each manner of asking, in the order in which they were tried."""
        found = []
        for manner in dict.fromkeys(one.manner for one in self.tried):
            ends = [one.ended for one in self.tried if one.manner == manner]
            code = _CODES[manner]["all" if all(ends) else "some" if any(ends) else "none"]
            values = {"asked": len(ends), "ended": sum(ends), "limit": self.limit}
            found.append(BehaviourFinding(code, tuple(values.items())))
        return tuple(found)


_CODES: dict[Manner, dict[str, str]] = {
    "template": {"all": "ends_its_turn", "some": "ends_some_turns", "none": "never_ends_its_turn"},
    "plain": {"all": "ends_plain_answers", "some": "ends_some_plain_answers", "none": "goes_on_after_plain_answers"},
    "text": {"all": "ends_texts", "some": "ends_some_texts", "none": "continues_text"},
}
