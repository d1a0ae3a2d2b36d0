"""The Hugging Face hub, or the mirror that `HF_ENDPOINT` names: searching it, and downloading models from it."""
