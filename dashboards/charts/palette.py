"""The one palette, on white, and the contrast it must keep (WCAG 2.2, 1.4.3 and 1.4.11).

Blue and vermilion are Okabe and Ito's (2008); they stay apart under all three dichromacies.
Colour never stands alone: a signal is also a triangle, a lower sum is also dashed.
"""

from __future__ import annotations

WHITE = "#FFFFFF"
INK = "#1B1F24"
MUTED = "#57606A"
LINE = "#8C959F"  # graphics only: too pale for text
CURRENT = "#0072B2"
SIGNAL = "#D55E00"  # marks
SIGNAL_TEXT = "#B34700"
THIRD = "#9A4C7D"  # always dashed: close to blue for protanopes
CONFIRMED = "#00785A"  # always with a tick
REFERENCE = "#D0D7DE"  # fill
SHADE = "#EEF1F4"  # fill
ONSET = "#F6E6D9"  # fill

TEXT = (INK, MUTED, SIGNAL_TEXT, CURRENT, CONFIRMED)
GRAPHICS = (LINE, CURRENT, SIGNAL, THIRD, CONFIRMED)
LEVELS = (CURRENT, THIRD, CONFIRMED, SIGNAL_TEXT, MUTED, LINE)  # at most six named levels


def contrast(colour: str, ground: str = WHITE) -> float:
    """Contrast ratio of two sRGB colours (WCAG 2.2, relative luminance)."""
    lighter, darker = sorted((_luminance(colour), _luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
