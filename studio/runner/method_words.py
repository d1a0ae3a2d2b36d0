"""What a method amounts to in words, the same in the window and on the command line."""

from __future__ import annotations

from studio.engine.methods import Method
from studio.i18n import tr
from studio.runner.actions import exports_of


def exports_text(method: Method) -> str:
    """Return the forms of export that take a method, such as "Merged model, Adapter"; empty when there is none."""
    return ", ".join(tr(target.title) for target in exports_of(method))


def merging_text(method: Method) -> tuple[str, str]:
    """Return whether a method merges, and a word about it."""
    if method.form == "model":
        return tr("Not needed"), tr("is a whole model")
    return (tr("Yes"), tr("into the base")) if method.mergeable else (tr("No"), tr("stays apart"))


def unmergeable_text(method: Method) -> str:
    """Say before training that a method cannot be merged, and what its exports are instead; empty when it can."""
    if method.mergeable:
        return ""
    exports = exports_text(method)
    if not exports:
        return tr("It cannot be merged into the base, and there is no export for it yet.")
    return tr("It cannot be merged into the base. What you can export: {exports}.").format(exports=exports)
