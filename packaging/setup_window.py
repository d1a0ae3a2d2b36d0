"""The window of the first start: it says what will be downloaded, installs it, and shows how far it is.

It is made of tkinter, because Qt is among what is installed.
"""

from __future__ import annotations

import locale
import os
import queue
import subprocess
import sys
import threading
import tkinter as tk
from pathlib import Path
from tkinter import scrolledtext, ttk

from programs import ROOT

sys.path.insert(0, str(ROOT))
from studio.i18n import set_language, tr  # the program's own words; the standard library is enough

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
POLL_MILLISECONDS = 100
PAD = 12


def main() -> int:
    """Show the window until the installation is done or given up; return 0 where the program can start."""
    set_language("zh_CN" if (locale.getlocale()[0] or os.environ.get("LANG", "")).startswith("zh") else "en")
    window = SetupWindow()
    window.mainloop()
    return window.status


class SetupWindow(tk.Tk):
    """`status` is that of the installation once it has ended, and 1 until then."""

    def __init__(self) -> None:
        super().__init__(className="finetune-studio")
        self.title("Finetune Studio")
        self.minsize(640, 460)
        self.status = 1
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._build()
        self.protocol("WM_DELETE_WINDOW", self.leave)
        self.bind("<Escape>", lambda _: self.leave())
        self._run("--dry-run")

    def _build(self) -> None:
        frame = ttk.Frame(self, padding=2 * PAD)
        frame.pack(fill="both", expand=True)
        ttk.Label(frame, text=tr("Set up Finetune Studio"), font=("TkDefaultFont", 16, "bold")).pack(anchor="w")
        about = tr(
            "The first start installs what fits this computer into your own folder, then tries a training of 20 "
            "seconds. What is downloaded is said below, before it begins."
        )
        ttk.Label(frame, text=about, wraplength=600, justify="left").pack(anchor="w", pady=(PAD // 2, PAD))
        self.log = scrolledtext.ScrolledText(
            frame, height=14, wrap="word", state="disabled", relief="solid", borderwidth=1
        )
        self.log.pack(fill="both", expand=True)
        self.index = self._field(frame, tr("Mirror of the Python package index (optional)"))
        self.proxy = self._field(frame, tr("Proxy of this network (optional)"))
        self.bar = ttk.Progressbar(frame, mode="indeterminate")
        self.bar.pack(fill="x", pady=PAD)
        buttons = ttk.Frame(frame)
        buttons.pack(fill="x")
        self.install = ttk.Button(buttons, text=tr("Install"), command=self.begin, default="active")
        self.install.pack(side="right")
        ttk.Button(buttons, text=tr("Cancel"), command=self.leave).pack(side="right", padx=PAD)
        self.bind("<Return>", lambda _: self.install.invoke())

    def _field(self, frame: ttk.Frame, words: str) -> ttk.Entry:
        row = ttk.Frame(frame)
        row.pack(fill="x", pady=(PAD // 2, 0))
        ttk.Label(row, text=words, width=44).pack(side="left")
        entry = ttk.Entry(row)
        entry.pack(side="left", fill="x", expand=True)
        return entry

    def begin(self) -> None:
        """Install, through the mirror and the proxy that were named."""
        named = (("--index-url", self.index.get().strip()), ("--proxy", self.proxy.get().strip()))
        self._run(*(word for option, value in named if value for word in (option, value)))

    def leave(self) -> None:
        """Give up. The same installation goes on at the next start."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self.destroy()

    def _run(self, *options: str) -> None:
        self.install.state(["disabled"])
        self.bar.start()
        command = [sys.executable, str(BOOTSTRAP), "install", *options]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        self._process = process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                self._lines.put(line)
            self._lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        self._poll("--dry-run" in options)

    def _poll(self, asked_only: bool) -> None:
        """Show the lines that came since; after the last one the installation has ended."""
        while not self._lines.empty():
            line = self._lines.get()
            if line is None:
                self._end(asked_only)
                return
            self.log.configure(state="normal")
            self.log.insert("end", line)
            self.log.configure(state="disabled")
            self.log.see("end")
        self.after(POLL_MILLISECONDS, self._poll, asked_only)

    def _end(self, asked_only: bool) -> None:
        assert self._process is not None
        status = self._process.wait()
        self.bar.stop()
        if status == 0 and not asked_only:
            self.status = 0
            self.destroy()
            return
        self.install.state(["!disabled"])
        self.install.configure(text=tr("Install") if asked_only else tr("Try again"))
        self.install.focus_set()
