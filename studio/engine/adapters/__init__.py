"""The serial bottleneck adapter (Houlsby et al. 2019, arXiv 1902.00751): the module, its places, its files.

To use a saved adapter on a plain transformers model, in a few lines:

    from transformers import AutoModelForCausalLM
    from studio.engine.adapters.files import load_bottleneck_adapter

    model = AutoModelForCausalLM.from_pretrained("path/to/base")
    model = load_bottleneck_adapter(model, Path("path/to/run/adapter"))

Without this app, the exports `bundle` and `self-contained` bring a loader of their own.
"""
