"""Every refusal as problem details (RFC 9457), in one place."""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.errors import AppError
from monitors.errors import MonitorError

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"


def problem(status: int, title: str, detail: str, **more: Any) -> JSONResponse:
    """An RFC 9457 answer."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


def refusal(error: AppError) -> JSONResponse:
    """The answer to an error that the caller can act on."""
    reason = getattr(error, "reason", None)
    answer = problem(
        error.status, error.title, str(error), **({"reason": reason} if reason else {})
    )
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(retry_after_s)
    return answer


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: which refusals its documentation lists.

    What each is stands in `app/central/openapi/refusals.py`.
    """
    return {status: {"description": "Problem details"} for status in statuses}


def install(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(AppError)
    def refuse(_: Request, error: AppError) -> JSONResponse:
        return refusal(error)

    @app.exception_handler(MonitorError)
    def not_assessable(_: Request, error: MonitorError) -> JSONResponse:
        return problem(422, "Not assessable", str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [
            {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
            for item in error.errors()
        ]
        return problem(422, "Not usable", "the request does not keep its schema", fields=fields)

    @app.exception_handler(HTTPException)
    def plain(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), str(error.detail))

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return problem(400, "Bad request", "the request ended before its body did")

    @app.exception_handler(DataError)
    def not_storable(_: Request, error: DataError) -> JSONResponse:
        # What no column can hold: a NUL in a text, a number beyond its type.
        log.warning("request.not_storable", kind=type(error.orig).__name__)
        return problem(422, "Not usable", "the request holds a value that cannot be stored")

    @app.exception_handler(DBAPIError)
    def unavailable(request: Request, error: DBAPIError) -> JSONResponse:
        if not (isinstance(error, OperationalError) or error.connection_invalidated):
            return bug(request, error)
        return try_again(type(error.orig).__name__)

    @app.exception_handler(PoolTimeout)
    def no_connection(_: Request, __: PoolTimeout) -> JSONResponse:
        return try_again("no free connection")

    def try_again(kind: str) -> JSONResponse:
        log.error("database.unavailable", kind=kind)
        answer = problem(503, "Database unavailable", "try again")
        answer.headers["Retry-After"] = "5"
        return answer

    @app.exception_handler(Exception)
    def bug(_: Request, error: Exception) -> JSONResponse:
        number = secrets.token_hex(4)
        log.error("request.failed", number=number, exc_info=error)
        return problem(500, "Internal error", f"error {number}", error=number)
