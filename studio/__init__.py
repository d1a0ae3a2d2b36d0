"""Finetune Studio: fine-tune a causal language model on your own workstation, and see what happens."""

__version__ = "0.1.0"
