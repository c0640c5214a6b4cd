"""Read a request's body up to a limit, whatever length it declares and however it is chunked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from app.central.errors import TooLarge


def limited_body(limit: int) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that gives the body, or refuses it with 413 at the first byte too many."""

    async def read(request: Request) -> bytes:
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise TooLarge(f"at most {limit} bytes expected, {declared} declared")
        content = bytearray()  # one buffer: 1-byte chunks must not cost a hundred times their size
        async for chunk in request.stream():
            if len(content) + len(chunk) > limit:
                raise TooLarge(f"at most {limit} bytes expected")
            content += chunk
        return bytes(content)

    return read
