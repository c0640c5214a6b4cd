"""Lists come a page at a time, newest first; a `Link` header says where the next page is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response

Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of a page")]


def link_next(request: Request, response: Response, page: Sequence[object], before: str) -> None:
    """Name the page after a full one (RFC 8288), by what its last row is called."""
    limit = int(request.query_params.get("limit", 200))
    if len(page) == limit:
        address = request.url.include_query_params(before=before)
        target = f"{address.path}?{address.query}"  # without a host: there may be a proxy
        response.headers["Link"] = f'<{target}>; rel="next"'
