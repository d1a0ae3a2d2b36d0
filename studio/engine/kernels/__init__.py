"""The arithmetic that training spends its time in, written so that less is stored and less is converted.

Each kernel computes what the plain modules compute, with the roundings of the compute format, and is tested against
them. Where one does not apply, the plain modules serve.
"""
