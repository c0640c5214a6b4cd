"""How often somebody may call: a token bucket each, in this process, on real time."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from app import clock
from app.central.errors import TooMany

KEPT = 10_000  # buckets; the one unused for longest is forgotten, and would be full by then


class Limiter:
    """`per_minute` calls a minute on average, as many at once."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60.0
        self._size = float(per_minute)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def spend(self, caller: str, calls: int = 1) -> None:
        """Take so many calls at once, or raise `TooMany` saying when to come again."""
        with self._lock:
            now = clock.elapsed()
            left, at = self._buckets.pop(caller, (self._size, now))
            left = min(self._size, left + (now - at) * self._rate)
            self._buckets[caller] = (left - calls if left >= calls else left, now)
            while len(self._buckets) > KEPT:
                self._buckets.popitem(last=False)
        if left < calls:
            raise TooMany("come again later", retry_after_s=1 + int((calls - left) / self._rate))
