from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
from studio.ui import app
from studio.ui.plain_text import PlainText

HEAVY = ("torch", "transformers", "peft", "datasets", "pyqtgraph", "numpy")

def look(window, *_):
    first = [name for name in HEAVY if name in sys.modules]
    plain = len(window.findChildren(PlainText))
    window.go_to("runs")
    heavy = [name for name in HEAVY if name in sys.modules]
    print(json.dumps({"title": window.windowTitle(), "first": first, "plain": plain, "heavy": heavy}))
    window.close()

app.make_application()
app.fill = look  # what comes as soon as the window is on the screen
sys.exit(app.main())
"""


def test_the_window_and_its_list_of_runs_are_shown_without_torch_and_plots_and_close_cleanly() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"title": "Finetune Studio", "first": [], "plain": 1, "heavy": ["numpy"]}
