"""The guide, beside the window: contents, search and chapters with links. Everything is on this computer."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import (
    QKeySequence,
    QShortcut,
    QTextBlock,
    QTextBlockFormat,
    QTextCursor,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QTextBrowser,
    QTextEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QTreeWidgetItemIterator,
    QWidget,
)

from studio.i18n import tr
from studio.runner.guide import TOP, Chapter, Heading, chapter_text, chapters, glossary_text, guide_folder
from studio.ui import theme
from studio.ui.actions import COMMANDS, MENUS, without_key
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label

PLACE = Qt.ItemDataRole.UserRole
LINE_HEIGHT = 135  # per cent
(GUIDE_KEY,) = (command.shortcut for command in COMMANDS if command.name == "guide")


class Guide(QDialog):
    """Stays open beside the window. `show_chapter` opens it at a place."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Guide"))
        self.chapters = {chapter.name: chapter for chapter in chapters()}
        self._insertions = {"commands": _commands_table(), "glossary": glossary_text()}
        self._places: list[tuple[str, str]] = []
        self.search = QLineEdit(placeholderText=tr("Search the guide"), clearButtonEnabled=True)
        self.search.setAccessibleName(tr("Search the guide"))
        self.search.setToolTip(tr("Show the sections in which all of these words stand (Ctrl+F)"))
        self.contents = _contents(self.chapters.values())
        self.nothing = label(tr("No section has these words."), "muted", wrap=True)
        self.nothing.hide()
        self.text = QTextBrowser(openLinks=False)
        self.text.setAccessibleName(tr("Text of the chapter"))
        self.text.setSearchPaths([str(guide_folder())])
        self.text.setProperty("kind", "card")
        self.text.document().setIndentWidth(theme.space(2.5))
        self.text.document().setDocumentMargin(theme.space(2))
        self.back = icon_button("chevron-left", tr("Back (Alt+Left)"))
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close (Esc)"))
        self.leave.setAutoDefault(False)
        self._connect()
        self._lay_out()
        self.show_chapter("setup")

    def show_chapter(self, name: str, anchor: str = TOP) -> None:
        """Show a chapter from one of its headings on."""
        place = (name, anchor)
        if not self._places or self._places[-1] != place:
            self._places.append(place)
        self.back.setEnabled(len(self._places) > 1)
        chapter = self.chapters[name]
        self.text.setMarkdown(chapter_text(chapter, self._insertions))
        _dress(self.text)
        anchors = [heading.anchor for heading in chapter.headings]
        self._scroll_to(_headings(self.text)[anchors.index(anchor)])
        self._mark_found()
        self._select(place)

    @property
    def place(self) -> tuple[str, str]:
        """The chapter and the anchor that are shown."""
        return self._places[-1]

    def _connect(self) -> None:
        self.contents.currentItemChanged.connect(self._show_item)
        self.search.textChanged.connect(self._filter)
        self.search.returnPressed.connect(self._show_first)
        self.text.anchorClicked.connect(self._follow)
        self.back.clicked.connect(self._go_back)
        self.leave.clicked.connect(self.close)
        theme.notifier().changed.connect(self._dress_again)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self, self.search.setFocus)
        QShortcut(QKeySequence("Alt+Left"), self, self._go_back)

    def _lay_out(self) -> None:
        left = QWidget()
        left.setMaximumWidth(theme.characters(40))
        vbox(hbox(self.back, (self.search, 1), spacing=0.75), (self.contents, 1), self.nothing, spacing=1, parent=left)
        vbox(
            (hbox((left, 1), (self.text, 2), spacing=1.5), 1),
            hbox(STRETCH, self.leave),
            spacing=1.5,
            margins=2,
            parent=self,
        )
        resize_dialog(self, 150, 80)
        self.contents.setFocus()

    def _show_item(self, item: QTreeWidgetItem | None, _before: QTreeWidgetItem | None) -> None:
        if item is not None:
            self.show_chapter(*item.data(0, PLACE))

    def _follow(self, url: QUrl) -> None:
        """Go where a link leads: `chapter.md#anchor`, or `#anchor` in the same chapter."""
        name = url.path().removesuffix(".md") or self.place[0]
        self.show_chapter(name, url.fragment() or TOP)

    def _go_back(self) -> None:
        if len(self._places) > 1:
            self._places.pop()
            self.show_chapter(*self._places[-1])

    def _filter(self) -> None:
        """Show only the sections that have all the words, and the chapters that they are in."""
        words = self.search.text().casefold().split()
        found = 0
        for item in _items(self.contents):
            name, anchor = item.data(0, PLACE)
            heading = next(one for one in self.chapters[name].headings if one.anchor == anchor)
            hit = _has(heading, words, self._insertions)
            found += hit
            item.setHidden(not hit)
            chapter = item.parent()
            if hit and chapter is not None:
                chapter.setHidden(False)
            if words and chapter is None:
                item.setExpanded(True)
        self.nothing.setVisible(not found)
        self._mark_found()

    def _show_first(self) -> None:
        words = self.search.text().casefold().split()
        for name, chapter in self.chapters.items():
            for heading in chapter.headings:
                if _has(heading, words, self._insertions):
                    self.show_chapter(name, heading.anchor)
                    return

    def _mark_found(self) -> None:
        """Light up the words that are searched for."""
        marks = []
        for word in self.search.text().split():
            cursor = self.text.document().find(word)
            while not cursor.isNull():
                mark = QTextEdit.ExtraSelection()
                mark.cursor = cursor
                mark.format.setBackground(theme.palette().accent_soft)
                marks.append(mark)
                cursor = self.text.document().find(word, cursor)
        self.text.setExtraSelections(marks)

    def _select(self, place: tuple[str, str]) -> None:
        item = next(one for one in _items(self.contents) if one.data(0, PLACE) == place)
        self.contents.blockSignals(True)
        if not self.search.text():
            self.contents.collapseAll()
        (item.parent() or item).setExpanded(True)
        self.contents.setCurrentItem(item)
        self.contents.blockSignals(False)

    def _scroll_to(self, block: QTextBlock) -> None:
        top = self.text.document().documentLayout().blockBoundingRect(block).top()
        self.text.verticalScrollBar().setValue(round(top) if block.blockNumber() else 0)
        self.text.setTextCursor(QTextCursor(block))

    def _dress_again(self) -> None:
        self.show_chapter(*self.place)


def offer_guide(dialog: QDialog, chapter: str, anchor: str = TOP) -> None:
    """Let F1 open the guide over a dialog at the place that is about it: the dialog blocks the guide of its window."""

    def show() -> None:
        guide = dialog.findChild(Guide)
        if guide is None:
            guide = Guide(dialog)
            dialog.finished.connect(guide.close)
        guide.show_chapter(chapter, anchor)
        guide.show()
        guide.activateWindow()

    QShortcut(QKeySequence(GUIDE_KEY), dialog, show)


def _contents(shown: Iterable[Chapter]) -> QTreeWidget:
    tree = QTreeWidget()
    tree.setHeaderHidden(True)
    tree.setAccessibleName(tr("Contents"))
    tree.setProperty("kind", "contents")
    tree.setIndentation(theme.space(2))
    for chapter in shown:
        top = QTreeWidgetItem(tree, [chapter.title])
        top.setData(0, PLACE, (chapter.name, TOP))
        for heading in chapter.headings[1:]:
            QTreeWidgetItem(top, [heading.title]).setData(0, PLACE, (chapter.name, heading.anchor))
    return tree


def _items(tree: QTreeWidget) -> list[QTreeWidgetItem]:
    """Return all items, each chapter before its sections."""
    found = QTreeWidgetItemIterator(tree)
    items = []
    while found.value():
        items.append(found.value())
        found += 1
    return items


def _has(heading: Heading, words: list[str], insertions: dict[str, str]) -> bool:
    text = heading.text
    for name, insertion in insertions.items():
        text = text.replace(f"{{{{{name}}}}}", insertion)
    whole = f"{heading.title}\n{text}".casefold()
    return all(word in whole for word in words)


def _headings(text: QTextBrowser) -> list[QTextBlock]:
    block, found = text.document().begin(), []
    while block.isValid():
        if block.blockFormat().headingLevel():
            found.append(block)
        block = block.next()
    return found


def _dress(text: QTextBrowser) -> None:
    """Give the lines room, and the tables the colours of the theme."""
    document = text.document()
    block = document.begin()
    while block.isValid():
        form = QTextBlockFormat(block.blockFormat())
        form.setLineHeight(LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if form.headingLevel() > 1:
            form.setTopMargin(theme.space(2.5))
        QTextCursor(block).setBlockFormat(form)
        block = block.next()
    for table in document.rootFrame().childFrames():
        if isinstance(table, QTextTable):
            look = table.format()
            look.setBorder(1)
            look.setBorderBrush(theme.palette().border)
            look.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
            look.setBorderCollapse(True)
            look.setCellPadding(theme.space(0.75))
            look.setCellSpacing(0)
            look.setWidth(QTextLength(QTextLength.Type.PercentageLength, 100))
            table.setFormat(look)


def _commands_table() -> str:
    """All commands that have keys, by menu, as a table in Markdown."""
    rows = [f"| {tr('Menu')} | {tr('Command')} | {tr('Keys')} |", "|---|---|---|"]
    for command in COMMANDS:
        if command.shortcut:
            keys = QKeySequence(command.shortcut).toString(QKeySequence.SequenceFormat.NativeText)
            menu, title = without_key(tr(MENUS[command.menu])), without_key(tr(command.title))
            rows.append(f"| {menu} | {title} | {keys} |")
    return "\n".join(rows)
