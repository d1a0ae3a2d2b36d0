"""The table of all commands of the window: menu, title, tooltip, shortcut and icon."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar

from studio.i18n import LANGUAGES, gettext_noop, tr
from studio.ui import icons

MENUS = {
    "file": gettext_noop("&File"),
    "edit": gettext_noop("&Edit"),
    "run": gettext_noop("&Run"),
    "training": gettext_noop("&While a run trains"),
    "view": gettext_noop("&View"),
    "theme": gettext_noop("&Theme"),
    "font": gettext_noop("&Font size"),
    "language": gettext_noop("&Language"),
    "help": gettext_noop("&Help"),
}
_INSIDE = {"training": "run", "theme": "view", "font": "view", "language": "view"}
PAGES = {
    "setup": gettext_noop("Setup"),
    "train": gettext_noop("Train"),
    "numerics": gettext_noop("Numerics"),
    "chat": gettext_noop("Chat"),
    "export": gettext_noop("Export"),
    "runs": gettext_noop("Runs"),
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One row of the table.

    Attributes:
        name: what handlers and tests call it.
        menu: a key of `MENUS`; title and tooltip are translated when shown.
        group: of the commands of one group, one is checked.
        shortcut: keys, with a space before other keys that do the same.
        rule: a line is drawn above it in its menu.
        switch: it is on or off.
    """

    name: str
    menu: str
    title: str
    tooltip: str = ""
    shortcut: str = ""
    icon: str = ""
    group: str = ""
    rule: bool = False
    switch: bool = False


COMMANDS = (
    Command(
        name="open_configuration",
        menu="file",
        title=gettext_noop("&Open configuration …"),
        tooltip=gettext_noop("Fill the Setup page from a TOML file."),
        shortcut="Ctrl+O",
        icon="folder",
    ),
    Command(
        name="save_configuration",
        menu="file",
        title=gettext_noop("&Save configuration …"),
        tooltip=gettext_noop("Write the Setup page to a TOML file, for the command line or for later."),
        shortcut="Ctrl+S",
        icon="save",
    ),
    Command(
        name="presets",
        menu="file",
        title=gettext_noop("&Presets …"),
        tooltip=gettext_noop("Take settings for a goal, or keep those of the Setup page under a name."),
        shortcut="Ctrl+T",
        icon="setup",
    ),
    Command(
        name="runs_folder",
        menu="file",
        title=gettext_noop("Change the &runs folder …"),
        tooltip=gettext_noop("Choose where new runs are kept."),
        rule=True,
    ),
    Command(
        name="laboratory",
        menu="file",
        title=gettext_noop("Overflow &laboratory …"),
        tooltip=gettext_noop("See each failure of 16-bit training, made on purpose on a tiny model."),
        shortcut="Ctrl+L",
        icon="numerics",
        rule=True,
    ),
    Command(name="quit", menu="file", title=gettext_noop("&Quit"), shortcut="Ctrl+Q", rule=True),
    Command(
        name="undo",
        menu="edit",
        title=gettext_noop("&Undo"),
        tooltip=gettext_noop("Bring back a removed dataset file, or the configuration that another one replaced."),
        shortcut="Ctrl+Z",
        icon="undo",
    ),
    Command(
        name="redo",
        menu="edit",
        title=gettext_noop("&Redo"),
        tooltip=gettext_noop("Make the change again that was undone."),
        shortcut="Ctrl+Shift+Z",
        icon="redo",
    ),
    Command(
        name="start",
        menu="run",
        title=gettext_noop("&Start"),
        tooltip=gettext_noop("Start training with the configuration of the Setup page."),
        shortcut="Ctrl+Return",
        icon="play",
    ),
    Command(
        name="pause",
        menu="run",
        title=gettext_noop("&Pause"),
        tooltip=gettext_noop("Wait after the present micro-batch, or go on."),
        shortcut="Ctrl+P",
        icon="pause",
    ),
    Command(
        name="checkpoint",
        menu="run",
        title=gettext_noop("Save a &checkpoint now"),
        tooltip=gettext_noop("Save the whole state of the run after the present step, and train on."),
        shortcut="Ctrl+K",
        icon="save",
    ),
    Command(
        name="stop",
        menu="run",
        title=gettext_noop("S&top and save"),
        tooltip=gettext_noop("Finish the present micro-batch, save what was learnt, and end."),
        shortcut="Ctrl+.",
        icon="stop",
    ),
    Command(
        name="continue",
        menu="run",
        title=gettext_noop("Co&ntinue this run"),
        tooltip=gettext_noop("Go on from the newest checkpoint with the run that the Train page shows."),
        shortcut="Ctrl+Shift+C",
        icon="continue",
        rule=True,
    ),
    Command(
        name="enqueue",
        menu="run",
        title=gettext_noop("&Add to the queue"),
        tooltip=gettext_noop("Let the configuration of the Setup page be trained after the runs before it."),
        shortcut="Ctrl+Shift+Return",
        icon="add",
        rule=True,
    ),
    Command(
        name="queue",
        menu="run",
        title=gettext_noop("Show the &queue …"),
        tooltip=gettext_noop("See what is trained next; change the order, take runs out, start or hold the queue."),
        shortcut="Ctrl+J",
        icon="queue",
    ),
    Command(
        name="copy_line",
        menu="run",
        title=gettext_noop("Copy the command &line"),
        tooltip=gettext_noop("Put a line on the clipboard that trains with the present configuration in a terminal."),
        shortcut="Ctrl+Shift+G",
        icon="copy",
        rule=True,
    ),
    Command(
        name="cluster",
        menu="run",
        title=gettext_noop("Train on several &GPUs …"),
        tooltip=gettext_noop("See the present configuration as a Slurm script and as a torchrun line."),
        shortcut="Ctrl+G",
        icon="copy",
    ),
    Command(
        name="open_run_folder",
        menu="run",
        title=gettext_noop("&Open run folder"),
        tooltip=gettext_noop("Show the files of this run."),
        shortcut="Ctrl+Shift+O",
        icon="folder",
        rule=True,
    ),
    Command(
        name="export",
        menu="run",
        title=gettext_noop("&Export …"),
        tooltip=gettext_noop("Merge and export what this run learnt."),
        shortcut="Ctrl+E",
        icon="export",
    ),
    Command(
        name="notify",
        menu="training",
        title=gettext_noop("Tell me when it &ends"),
        tooltip=gettext_noop(
            "Show a message of the desktop when a run has ended or needs you, and this window is not in front."
        ),
        switch=True,
    ),
    Command(
        name="keep_awake",
        menu="training",
        title=gettext_noop("&Keep the computer awake"),
        tooltip=gettext_noop(
            "Keep the computer from going to sleep by itself while a run trains. While it is paused it may sleep."
        ),
        switch=True,
    ),
    Command(
        name="show_progress",
        menu="training",
        title=gettext_noop("Show progress in the task &bar"),
        tooltip=gettext_noop("Show how far the run is on the icon in the task bar, where a Linux desktop has that."),
        switch=True,
    ),
    *(
        Command(name=f"page_{name}", menu="view", title=title, shortcut=f"Ctrl+{number}", icon=name, group="page")
        for number, (name, title) in enumerate(PAGES.items(), start=1)
    ),
    Command(name="theme_system", menu="theme", title=gettext_noop("Like the &system"), group="theme"),
    Command(name="theme_light", menu="theme", title=gettext_noop("&Light"), group="theme"),
    Command(name="theme_dark", menu="theme", title=gettext_noop("&Dark"), group="theme"),
    Command(
        name="theme_contrast",
        menu="theme",
        title=gettext_noop("&High contrast"),
        tooltip=gettext_noop("White on black, with borders that stand out."),
        group="theme",
    ),
    Command(
        name="font_larger",
        menu="font",
        title=gettext_noop("&Larger"),
        tooltip=gettext_noop("Write everything larger, up to twice the usual size."),
        shortcut="Ctrl++ Ctrl+=",
    ),
    Command(
        name="font_smaller",
        menu="font",
        title=gettext_noop("&Smaller"),
        tooltip=gettext_noop("Write everything smaller, down to 80 % of the usual size."),
        shortcut="Ctrl+-",
    ),
    Command(
        name="font_usual",
        menu="font",
        title=gettext_noop("&Usual size"),
        tooltip=gettext_noop("Write everything in the usual size."),
        shortcut="Ctrl+0",
    ),
    Command(
        name="reduce_motion",
        menu="view",
        title=gettext_noop("&Reduce motion"),
        tooltip=gettext_noop(
            "Let nothing move or blink by itself: the text cursor, menus, and bars of work that has no known end."
        ),
        rule=True,
        switch=True,
    ),
    # A language is written in itself, so that whoever needs it can read it.
    *(
        Command(name=f"language_{key}", menu="language", title=name, group="language")
        for key, name in LANGUAGES.items()
    ),
    Command(
        name="self_test",
        menu="help",
        title=gettext_noop("Self-&test …"),
        tooltip=gettext_noop("Train the starter model for 20 seconds, and see whether its loss falls."),
        icon="check",
    ),
    Command(
        name="guide",
        menu="help",
        title=gettext_noop("&Guide"),
        tooltip=gettext_noop("Read about the page that is shown, and about the field. Works without a network."),
        shortcut="F1",
        icon="info",
    ),
    Command(
        name="tour",
        menu="help",
        title=gettext_noop("T&our of five steps"),
        tooltip=gettext_noop("See on the window itself what is where. Enter goes on, Esc ends it."),
    ),
    Command(
        name="report",
        menu="help",
        title=gettext_noop("&Report a problem …"),
        tooltip=gettext_noop("Write a file with what is needed to find a problem. Nothing is sent."),
        rule=True,
    ),
    Command(
        name="about",
        menu="help",
        title=gettext_noop("&About Finetune Studio"),
        tooltip=gettext_noop("See versions for a report, and the licences of the programs that this one is built on."),
        rule=True,
    ),
)


def menu_letters() -> set[str]:
    """Return the letters that open a menu of the bar together with Alt, in the language of the session."""
    shown = (tr(title) for key, title in MENUS.items() if key not in _INSIDE)
    return {title[title.index("&") + 1].lower() for title in shown if "&" in title}


TITLES = {command.name: command.title for command in COMMANDS}


def build_actions(bar: QMenuBar, owner: QObject, handlers: Mapping[str, Callable[[], object]]) -> dict[str, QAction]:
    """Fill the menu bar with an action for every command, connected to the handler of its name.

    Args:
        owner: the parent of the actions; deleting it deletes them and their shortcuts.
    """
    menus = _build_menus(bar)
    groups: dict[str, QActionGroup] = {}
    actions = {}
    for command in COMMANDS:
        actions[command.name] = action = _build(command, owner)
        action.triggered.connect(lambda _=False, run=handlers[command.name]: run())
        action.setCheckable(command.switch)
        if command.group:
            action.setCheckable(True)
            groups.setdefault(command.group, QActionGroup(owner)).addAction(action)
        if command.rule:
            menus[command.menu].addSeparator()
        menus[command.menu].addAction(action)
    return actions


def without_key(title: str) -> str:
    """Return a title without the mark of its Alt key: `&Start` is Start, and 开始(&S) is 开始."""
    return re.sub(r"\(&\w\)|&(&?)", r"\1", title)


def _build_menus(bar: QMenuBar) -> dict[str, QMenu]:
    for menu in bar.findChildren(QMenu, options=Qt.FindChildOption.FindDirectChildrenOnly):
        menu.deleteLater()
    bar.clear()
    menus: dict[str, QMenu] = {}
    for key, title in MENUS.items():
        parent = menus[_INSIDE[key]] if key in _INSIDE else bar
        menus[key] = parent.addMenu(tr(title))
        menus[key].setToolTipsVisible(True)
    return menus


def _build(command: Command, owner: QObject) -> QAction:
    action = QAction(tr(command.title), owner)
    action.setObjectName(command.name)
    action.setShortcuts([QKeySequence(keys) for keys in command.shortcut.split()])
    words = tr(command.tooltip) or without_key(action.text())
    shortcut = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    action.setToolTip(tr("{words} ({detail})").format(words=words, detail=shortcut) if shortcut else words)
    if command.icon:
        icons.bind(action, command.icon, "muted")
    return action
