"""What was agreed before looking: the budget of false signals and the few sizes that matter."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from monitors.errors import DesignError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A surveillance plan. The defaults are meant to be used as they are.

    false_signals_per_year : expected false statistical signals of the whole fleet, at most.
    window_cases : windows of a scanner are merged until they hold so many cases.
    least_reference_cases : of a stratum, below which it is not assessable on its own.
    full_reference_cases, full_reference_windows : below either, a stratum is provisional.
    mute_days : a signal's scope does not signal again for so long.
    naming_probability : a cause is named from this posterior probability on.
    reassess_days : an open signal's cause is looked at again after so long, or sooner on news.
    sentinel_tolerance : largest change of a fixed image's score, in probability.
    """

    false_signals_per_year: float = 1.0
    window_cases: int = 20
    least_reference_cases: int = 300
    full_reference_cases: int = 2000
    full_reference_windows: int = 60
    mute_days: int = 120
    naming_probability: float = 0.80
    reassess_days: int = 7
    sentinel_tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.false_signals_per_year < 1000:
            raise DesignError(
                f"false_signals_per_year must be positive, got {self.false_signals_per_year}"
            )
        if not 0.5 < self.naming_probability < 1:
            raise DesignError(
                f"naming_probability: 0.5 to 1 expected, got {self.naming_probability}"
            )
        for name in ("window_cases", "least_reference_cases", "mute_days", "reassess_days"):
            if getattr(self, name) < 1:
                raise DesignError(f"{name}: at least 1 expected, got {getattr(self, name)}")

    @property
    def digest(self) -> str:
        """SHA-256 that names the plan."""
        fields = "\n".join(f"{k}={v!r}" for k, v in sorted(asdict(self).items()))
        return hashlib.sha256(f"lockwatch/plan/v1\n{fields}".encode()).hexdigest()
