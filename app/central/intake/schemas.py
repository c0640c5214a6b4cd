"""What the intake's routes take besides raw windows: see `app/contracts/exchange.py`."""

from __future__ import annotations

from app.contracts.exchange import (
    DeclareEpoch,
    EnrolmentAnswer,
    EnrolmentRequest,
    KeyAnswer,
    KeyRequest,
    KeySwitch,
)

__all__ = [
    "DeclareEpoch",
    "EnrolmentAnswer",
    "EnrolmentRequest",
    "KeyAnswer",
    "KeyRequest",
    "KeySwitch",
]
