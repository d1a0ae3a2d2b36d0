"""Trained models in use: patches that are switched on one base, and what each form of them costs in time."""
