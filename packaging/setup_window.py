"""The window of the first start: it says what will be downloaded, installs it, and shows how far it is.

It is made of tkinter, because Qt is among what is installed.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import tkinter as tk
from tkinter import scrolledtext, ttk

from programs import ROOT

from studio.i18n import set_language, terminal_language, tr

BOOTSTRAP = ROOT / "packaging" / "bootstrap.py"
POLL_MILLISECONDS = 100
PAD = 12
SIZE = (680, 560)
GROUND, SURFACE, INK, ACCENT = "#f2f4f8", "#ffffff", "#14171f", "#2456d3"


def main() -> int:
    """Show the window until the installation is done or given up; return 0 where the program can start."""
    set_language(terminal_language())
    window = SetupWindow()
    window.mainloop()
    return window.status


class SetupWindow(tk.Tk):
    """`status` is that of the installation once it has ended, and 1 until then."""

    def __init__(self) -> None:
        super().__init__(className="finetune-studio")
        self.title("Finetune Studio")
        self.minsize(*SIZE)
        self.geometry("{}x{}+{}+{}".format(*SIZE, *self._middle()))
        self.status = 1
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._build()
        self.protocol("WM_DELETE_WINDOW", self.leave)
        self.bind("<Escape>", lambda _: self.leave())
        self._run("--dry-run")

    def _middle(self) -> tuple[int, int]:
        """Return where the window is in the middle of the screen."""
        screen = (self.winfo_screenwidth(), self.winfo_screenheight())
        return (screen[0] - SIZE[0]) // 2, (screen[1] - SIZE[1]) // 2

    def _choose_look(self) -> None:
        """Where tkinter has no look of the system, take the colours of the program's own window."""
        style = ttk.Style(self)
        if self.tk.call("tk", "windowingsystem") == "x11":
            style.theme_use("clam")
            style.configure(".", background=GROUND, foreground=INK, bordercolor="#c3c8d4")
            style.configure("TEntry", fieldbackground=SURFACE)
            style.configure("TButton", background=SURFACE, padding=(PAD, PAD // 2))
            style.configure("Accent.TButton", background=ACCENT, foreground=SURFACE)
            style.map("Accent.TButton", background=[("disabled", "#c3c8d4"), ("active", "#1d47b0")])
            style.configure("TProgressbar", background=ACCENT, troughcolor=SURFACE)
            self.configure(background=GROUND)

    def _build(self) -> None:
        self._choose_look()
        frame = ttk.Frame(self, padding=2 * PAD)
        frame.pack(fill="both", expand=True)
        ttk.Label(frame, text=tr("Set up Finetune Studio"), font=("TkDefaultFont", 16, "bold")).pack(anchor="w")
        about = tr(
            "The first start installs what fits this computer into your own folder, then tries a training of 20 "
            "seconds. What is downloaded is said below, before it begins."
        )
        ttk.Label(frame, text=about, wraplength=600, justify="left").pack(anchor="w", pady=(PAD // 2, PAD))
        below = ttk.Frame(frame)
        below.pack(side="bottom", fill="x")  # before the log, which takes the room that is left
        font = "TkDefaultFont"
        self.log = scrolledtext.ScrolledText(frame, height=4, wrap="word", state="disabled", font=font, relief="flat")
        self.log.configure(background=SURFACE, foreground=INK, padx=PAD, pady=PAD, spacing3=2, takefocus=True)
        self.log.pack(fill="both", expand=True)
        self.index = self._field(below, tr("Mirror of the Python package index (optional)"))
        self.proxy = self._field(below, tr("Proxy of this network (optional)"))
        self.bar = ttk.Progressbar(below, mode="indeterminate")
        self.bar.pack(fill="x", pady=PAD)
        buttons = ttk.Frame(below)
        buttons.pack(fill="x")
        self.install = ttk.Button(buttons, text=tr("Install"), command=self.begin, style="Accent.TButton")
        self.install.pack(side="right")
        ttk.Button(buttons, text=tr("Cancel"), command=self.leave).pack(side="right", padx=PAD)
        self.bind("<Return>", lambda _: self.install.invoke())

    def _field(self, frame: ttk.Frame, words: str) -> ttk.Entry:
        ttk.Label(frame, text=words).pack(anchor="w", pady=(PAD, 0))
        entry = ttk.Entry(frame)
        entry.pack(fill="x")
        return entry

    def begin(self) -> None:
        """Install, through the mirror and the proxy that were named."""
        named = (("--index-url", self.index.get().strip()), ("--proxy", self.proxy.get().strip()))
        self._run(*(word for option, value in named if value for word in (option, value)))

    def leave(self) -> None:
        """Give up. The same installation goes on at the next start."""
        if self._process is not None and self._process.poll() is None:
            end(self._process)
        self.destroy()

    def _run(self, *options: str) -> None:
        self.install.state(["disabled"])
        self.bar.configure(mode="indeterminate")
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
            start_new_session=True,
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
        self.bar.configure(mode="determinate", value=0)  # stopped, the other one would still show a piece
        if status == 0 and not asked_only:
            self.status = 0
            self.destroy()
            return
        self.install.state(["!disabled"])
        self.install.configure(text=tr("Install") if asked_only else tr("Try again"))
        self.install.focus_set()


def end(process: subprocess.Popen[str]) -> None:
    """End the installation and the programs that it has started, such as pip."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], check=False)
    else:
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()
