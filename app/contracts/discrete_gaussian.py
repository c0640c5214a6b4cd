"""Whole numbers with P(x) in proportion to exp(-x^2 / (2 scale^2)), sampled exactly.

Canonne, Kamath and Steinke, The Discrete Gaussian for Differential Privacy (2020), algorithms 1
to 3: only whole-number arithmetic and uniform draws, so that no rounding of a float can tell what
was hidden (Mironov 2012, CCS).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from app.errors import ContractError

Below = Callable[[int], int]  # a uniform integer of 0 .. n - 1


def discrete_gaussian(scale: int, below: Below = secrets.randbelow) -> int:
    """One draw of mean 0. `scale` >= 1; the standard deviation is a little less than it."""
    if scale < 1:
        raise ContractError("noise", f"a scale of at least 1 expected, got {scale}")
    square, t = scale * scale, scale + 1
    while True:
        x = _laplace(t, below)
        if _exponential((abs(x) * t - square) ** 2, 2 * square * t * t, below):
            return x


def _laplace(t: int, below: Below) -> int:
    """P(x) in proportion to exp(-|x| / t)."""
    while True:
        u = below(t)
        if not _exponential(u, t, below):
            continue
        size = u
        while _exponential(1, 1, below):
            size += t
        is_negative = below(2) == 1
        if size or not is_negative:  # zero has one sign
            return -size if is_negative else size


def _exponential(a: int, b: int, below: Below) -> bool:
    """True with probability exp(-a / b)."""
    whole, rest = divmod(a, b)
    return all(_fraction(1, 1, below) for _ in range(whole)) and _fraction(rest, b, below)


def _fraction(a: int, b: int, below: Below) -> bool:
    """True with probability exp(-a / b), for a <= b."""
    k = 1
    while below(b * k) < a:
        k += 1
    return k % 2 == 1
