"""One window for a home: who starts the program again brings the first window to the front, with a file in it.

The second process asks over a local socket, on Windows a named pipe: one line of JSON, answered by `ANSWER`. The
socket's folder belongs to the user alone, so that nobody else can ask, or answer in the first window's place.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import cast, get_args

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from studio.files import parse_object
from studio.paths import home
from studio.runner.opening import Kind, Opening

log = logging.getLogger(__name__)
ACTIVATION_TOKEN = "XDG_ACTIVATION_TOKEN"
"""The variable from which Qt takes what lets a window of Wayland come to the front (XDG Activation protocol)."""
ANSWER = b"shown\n"
MOST_BYTES = 1 << 15  # of a question; the longest path of Linux has 4096
MILLISECONDS = 10_000  # as long as either side waits for the other, which may be starting still


def ask_first_window(opening: Opening | None) -> bool:
    """Ask the first window of this home to come to the front, and to open something; return whether it does.

    A window that does not answer, or does not understand, is none.
    """
    peer = QLocalSocket()
    if not _connected(peer):
        return False
    question = {"kind": "", "path": "", "token": os.environ.get(ACTIVATION_TOKEN, "")}
    if opening is not None:
        question |= {"kind": opening.kind, "path": str(opening.path)}
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.user32.AllowSetForegroundWindow(-1)  # Win32 API: ASFW_ANY, as this process may take the focus
    peer.write(json.dumps(question).encode() + b"\n")
    while not peer.canReadLine() and peer.waitForReadyRead(MILLISECONDS):
        pass
    shown = bytes(peer.readLine().data()) == ANSWER
    if not shown:
        log.warning("The first window did not answer: %s", peer.errorString())
    return shown


class FirstWindow(QObject):
    """Listens for other starts of the program. They wait until `serve` is called, and are answered from then on."""

    asked = Signal(object, str)
    """What to open, an `Opening` or None, and the token with which a window of Wayland comes to the front."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        # Elsewhere the folder keeps others away, and the option would replace a live socket.
        if sys.platform == "win32":
            self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)

    def listen(self) -> bool:
        """Be the first window of this home, where there is none; return whether it is.

        The socket of a process that crashed is replaced. Of two processes that do so at once, one may stay unheard:
        each has its window.
        """
        try:
            address = _address()
        except OSError as error:
            log.warning("Another start cannot reach this window: %s", error)
            return False
        if not self._server.listen(address) and not _connected(QLocalSocket()):
            QLocalServer.removeServer(address)
            if not self._server.listen(address):
                log.warning("Another start cannot reach this window: %s", self._server.errorString())
        return self._server.isListening()

    def serve(self) -> None:
        """Answer those who ask, and those who have been waiting."""
        self._server.newConnection.connect(self._welcome)
        self._welcome()

    def close(self) -> None:
        """Be the first window no longer."""
        self._server.close()

    def _welcome(self) -> None:
        while self._server.hasPendingConnections():
            peer = self._server.nextPendingConnection()
            peer.setReadBufferSize(MOST_BYTES)
            peer.disconnected.connect(peer.deleteLater)
            peer.readyRead.connect(partial(self._read, peer))
            patience = QTimer(peer, singleShot=True, interval=MILLISECONDS)
            patience.timeout.connect(partial(QLocalSocket.abort, peer))
            patience.start()
            self._read(peer)

    def _read(self, peer: QLocalSocket) -> None:
        if peer.canReadLine():
            try:
                opening, token = _understood(bytes(peer.readLine().data()))
            except ValueError as error:
                log.warning("Another process asked for what is not understood: %s", error)
                peer.abort()
                return
            peer.write(ANSWER)
            peer.disconnectFromServer()
            self.asked.emit(opening, token)
        elif peer.bytesAvailable() >= MOST_BYTES:
            log.warning("Another process asked at too great a length")
            peer.abort()


def _understood(line: bytes) -> tuple[Opening | None, str]:
    """Return what a question asks for; nothing is read of the path. Raises `ValueError` for what is no question."""
    question = parse_object(line)
    kind, path, token = (question.get(key) for key in ("kind", "path", "token"))
    if not isinstance(path, str) or not isinstance(token, str) or not (token.isascii() and len(token) < 256):
        raise ValueError("path and token are to be texts")
    if not token.isprintable():
        raise ValueError("the token is to be printable")
    if kind == path == "":
        return None, token
    if kind not in get_args(Kind) or "\0" in path or not Path(path).is_absolute():
        raise ValueError("an absolute path of a known kind is expected")
    return Opening(cast(Kind, kind), Path(path)), token


def _connected(peer: QLocalSocket) -> bool:
    """Return whether the first window of this home, where there is one, can be asked."""
    try:
        peer.connectToServer(_address())
    except OSError as error:
        log.warning("The first window cannot be asked: %s", error)
        return False
    return peer.waitForConnected(MILLISECONDS)


def _address() -> str:
    """Return the address of this user and this home. Raises `OSError`: its folder is not this user's alone."""
    from platformdirs import user_runtime_path

    name = hashlib.sha256(os.fsencode(os.path.realpath(home()))).hexdigest()[:16]
    if sys.platform == "win32":
        return f"finetune-studio-{name}"
    with warnings.catch_warnings():
        # A session without a runtime folder, such as root's, gets one in the folder for temporary files instead.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        folder = user_runtime_path("finetune-studio", appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "others can reach it", str(folder))
    return str(folder / name)
