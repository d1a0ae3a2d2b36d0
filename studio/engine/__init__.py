"""The engine: models, data, methods, precision, numerics, training, export. Knows neither the window nor the runner."""

import os

# No telemetry: the hub's client reads this when it is imported, and only the engine and its children import it.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# On processors torch keeps a compiled product for every shape that it has met, a thousand of them in each of two
# caches. Micro-batches have ever other lengths, so a run would grow by some 80 MB with each step at first; at 128 it
# stays level (SmolLM2-135M after 8 steps: 1.6 GB in place of 2.0 GB) and is as fast. To be set before torch computes.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "128")
