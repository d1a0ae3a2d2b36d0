"""What the window says of verdicts and remedies of the numerics, and a configuration as a remedy changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.config import RunConfig
from studio.engine.numerics.remedies import REMEDIES, changed
from studio.engine.numerics.verdicts import VERDICTS
from studio.engine.numerics.verdicts import verdict_words as verdict_words  # for the window
from studio.i18n import sentences, tr

if TYPE_CHECKING:
    from studio.runner.record import RunRecord


def verdict_title(name: str) -> str:
    """Return a class of verdict in a few words, untranslated; the name itself if it is of another version."""
    return VERDICTS.get(name).title if name in VERDICTS.names() else _as_words(name)


def remedy_words(name: str) -> tuple[str, str]:
    """Return the title and the explanation of a remedy, untranslated."""
    known = REMEDIES.get(name)
    return (known.title, known.explanation) if known else (_as_words(name), "")


def ended_words(name: str) -> str:
    """Return why a remedy cannot be used once the run has ended, and what can; empty if a new run can begin with it."""
    known = REMEDIES.get(name)
    if known is not None and not known.acts_on_run:
        return ""
    words = tr("“{remedy}” needs a run that is under way.")
    sentence = words.format(remedy=tr(remedy_words(name)[0]))
    return sentences((sentence, tr(known.instead))) if known else sentence


def _as_words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def remedied(record: RunRecord, name: str) -> RunConfig:
    """Return a run's last configuration as a remedy of its newest verdict that offers it changes it.

    Raises:
        ConfigError: the run's configuration cannot be read, or the remedy does not fit it.
    """
    evidence = next((v.evidence for v in reversed(record.verdicts) if name in v.remedies), {})
    assert record.folder is not None
    return changed(record.configs[-1][1], name, evidence)
