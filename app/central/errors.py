"""What a request may meet, in the words and statuses of HTTP."""

from __future__ import annotations

from app.errors import AppError


class NotFound(AppError):
    """What was asked for is not there, or not for this person."""

    status = 404
    title = "Not found"


class NotAllowed(AppError):
    """The state of the thing, or the rule of two people, does not allow it."""

    status = 409
    title = "Not allowed now"


class Forbidden(AppError):
    """Known, but not permitted."""

    status = 403
    title = "Forbidden"


class PasswordDue(Forbidden):
    """Logged in with a one-time password, which opens nothing but the choice of one's own."""

    title = "Password to be chosen"


class NotAuthenticated(AppError):
    """Nobody knows who is calling. `reason` is a closed, countable word."""

    status = 401
    title = "Not authenticated"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SignInRefused(AppError):
    """The identity provider's word on somebody is not taken. `reason` is a closed, countable word;
    `who` is the account, else the subject at the provider, else empty: not known yet."""

    status = 403
    title = "Sign-in refused"

    def __init__(self, reason: str, message: str, *, who: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.who = who


class ProviderUnavailable(SignInRefused):
    """The identity provider does not answer, or not as its standard says."""

    status = 503
    title = "Identity provider unavailable"


class TooLarge(AppError):
    """More bytes than are read."""

    status = 413
    title = "Too large"


class TooMany(AppError):
    """More requests than are served; `retry_after_s` says when to come again."""

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unusable(AppError):
    """A value that cannot be used as it is."""

    status = 422
    title = "Not usable"
