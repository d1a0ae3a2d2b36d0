from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from studio.ui import app

HEAVY = ("torch", "transformers", "peft", "datasets", "pyqtgraph", "numpy")

def look():
    windows = [window for window in QApplication.topLevelWidgets() if window.isVisible() and window.isWindow()]
    first = [name for name in HEAVY if name in sys.modules]
    windows[0].go_to("runs")
    heavy = [name for name in HEAVY if name in sys.modules]
    print(json.dumps({"title": windows[0].windowTitle(), "first": first, "heavy": heavy}))
    for window in windows:
        window.close()

app.make_application()
QTimer.singleShot(0, look)
sys.exit(app.main())
"""


def test_the_window_and_its_list_of_runs_are_shown_without_torch_and_plots_and_close_cleanly() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"title": "Finetune Studio", "first": [], "heavy": ["numpy"]}
