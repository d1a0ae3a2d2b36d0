"""Opens the bottleneck adapter in this folder on its base model: y = x + W_up·f(W_down·x + b_down) + b_up.

model = load("path/to/base"); it needs torch, transformers and safetensors, and nothing else.
"""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

HERE = Path(__file__).resolve().parent


def load(base: str | Path = HERE / "base", **options: Any) -> Any:
    """Return base + adapter. `options` go to from_pretrained: dtype, device_map, quantization_config and so on.

    Warns where `base` is a folder whose files are not those that the adapter was trained on.
    """
    if Path(base).is_dir() and (wrong := differing_files(base)):
        warnings.warn(f"The adapter was trained on another base: {', '.join(wrong)} in {base} differ.", stacklevel=2)
    config = options.get("config") or AutoConfig.from_pretrained(base)
    # The class that the files are of: AutoModelForCausalLM makes another one of models packaged with vision.
    model_class = getattr(transformers, (config.architectures or [""])[0], AutoModelForCausalLM)
    return attach(model_class.from_pretrained(base, **options))


def attach(model: Any) -> Any:
    """Put the adapter into a model that is loaded already, and return the model."""
    info = json.loads((HERE / "bottleneck_adapter.json").read_text(encoding="utf-8"))
    f = getattr(nn.functional, info["activation"])

    def adapt(module: Any, inputs: Any, output: Any) -> Any:
        x, *rest = output if isinstance(output, tuple) else (output,)
        down, up = module.adapter["down"], module.adapter["up"]
        y = x + up(f(down(x.to(down.weight.dtype)))).to(x.dtype)
        return (y, *rest) if rest else y

    for place in info["places"]:
        module, d, m = model.get_submodule(place), info["hidden_size"], info["bottleneck"]
        adapter = nn.ModuleDict({"down": nn.Linear(d, m), "up": nn.Linear(m, d)})
        module.adapter = adapter.to(next(module.parameters()).device)
        module.register_forward_hook(adapt)
    missing, unexpected = model.load_state_dict(load_file(HERE / "bottleneck_adapter.safetensors"), strict=False)
    wrong = [*unexpected, *(name for name in missing if ".adapter." in name)]
    if wrong or model.config.model_type != info["model_type"]:
        raise ValueError(f"This adapter belongs to another base model ({info['model_type']}). {' '.join(wrong)}")
    model.generation_config = GenerationConfig.from_pretrained(HERE)
    return model.eval()


def differing_files(base: str | Path) -> list[str]:
    """Return which files of a local base are not, byte for byte, those that the adapter was trained on."""
    files = json.loads((HERE / "base_model.json").read_text(encoding="utf-8"))["files"]
    return [name for name in files if _sha256(Path(base, name)) != files[name]["sha256"]]


def _sha256(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
