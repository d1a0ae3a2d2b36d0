"""The engine: models, data, methods, precision, training and export. Knows neither the window nor the runner."""

import os

# No telemetry: the hub's client reads this when it is imported, and only the engine and its children import it.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
