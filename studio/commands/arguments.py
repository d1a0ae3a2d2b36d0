"""What argparse itself says, in the language of the session."""

from __future__ import annotations

import gettext

from studio.i18n import gettext_noop
from studio.paths import resource

# Of Python 3.11 to 3.14; a text that a later one words otherwise stands in English.
WORDS = (
    gettext_noop("usage: "),
    gettext_noop("positional arguments"),
    gettext_noop("options"),
    gettext_noop("show this help message and exit"),
    gettext_noop("show program's version number and exit"),
    gettext_noop("unrecognized arguments: %s"),
    gettext_noop("the following arguments are required: %s"),
    gettext_noop("one of the arguments %s is required"),
    gettext_noop("expected one argument"),
    gettext_noop("expected at least one argument"),
    gettext_noop("not allowed with argument %s"),
    gettext_noop("argument %(argument_name)s: %(message)s"),
    gettext_noop("invalid %(type)s value: %(value)r"),
    gettext_noop("invalid choice: %(value)r (choose from %(choices)s)"),
    gettext_noop("%(prog)s: error: %(message)s\n"),
)


def translate_argparse() -> None:
    """Let argparse find its words in our catalogue; gettext takes the language of the terminal."""
    gettext.bindtextdomain("studio", str(resource("i18n")))
    gettext.textdomain("studio")
