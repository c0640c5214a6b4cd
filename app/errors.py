"""The errors a caller can act on. Everything else is a bug.

A message says what, what was expected and what was got; never a patient identifier.
"""

from __future__ import annotations


class AppError(Exception):
    """An error a caller can act on, with the HTTP status and RFC 9457 title it maps to."""

    status = 400
    title = "Request refused"


class ContractError(AppError):
    """Bytes or JSON that do not keep a contract. `reason` is a closed, countable word."""

    status = 422
    title = "Contract not kept"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SignatureRefused(AppError):
    """A signature is missing, unknown or wrong."""

    status = 401
    title = "Signature refused"
