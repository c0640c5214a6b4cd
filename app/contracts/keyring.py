"""Which key an edge signed a window with: its present one, or one that it had before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one edge. `retired`: the last epoch and sequence under a key, oldest first."""

    current: bytes
    retired: tuple[tuple[tuple[int, int], bytes], ...] = ()

    @classmethod
    def of(cls, public_key: str, retired_keys: Iterable[Any]) -> KeyRing:
        """From what the edge's row holds."""
        return cls(
            bytes.fromhex(public_key),
            tuple(
                ((int(k["epoch"]), int(k["sequence"])), bytes.fromhex(k["public_key"]))
                for k in retired_keys
            ),
        )

    def at(self, epoch: int, sequence: int) -> bytes:
        """The only key that this window may be signed with."""
        fits = (key for last, key in self.retired if (epoch, sequence) <= last)
        return next(fits, self.current)

    @property
    def switched_after(self) -> tuple[int, int]:
        """The newest window under another key than the present one; zeros before any switch."""
        return self.retired[-1][0] if self.retired else (0, 0)
