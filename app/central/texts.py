"""What a person writes: text of a bounded length that a column can hold."""

from __future__ import annotations

from app.central.errors import Unusable

LONGEST_REASON = 10_000


def check_text(name: str, text: str, most: int, *, least: int = 1) -> None:
    """Refuse a text that is blank where one is needed, too long, or holds NUL."""
    if not least <= len(text.strip()) or len(text) > most or "\x00" in text:
        raise Unusable(f"{name}: {least} to {most} characters without NUL expected")
