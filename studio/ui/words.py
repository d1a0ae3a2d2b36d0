"""Moved to studio.words; import from there."""

from studio.words import count_text, duration_text, share_text, size_text, speed_text, stage_text

__all__ = ["count_text", "duration_text", "share_text", "size_text", "speed_text", "stage_text"]
