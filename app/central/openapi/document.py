"""The OpenAPI document, completed: examples, security, and every refusal (RFC 9457).

FastAPI writes paths and schemas; this adds what it cannot know. Who may use an operation is read
off its own permission, so that document and service cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from app.central.accounts.permissions import SAFE_METHODS, cookie_name
from app.central.openapi import refusals
from app.central.openapi.doors import doors
from app.central.openapi.examples import Examples, vocabulary
from app.contracts.exchange import HEADERS

Json = Any
JSON = "application/json"
OF_FASTAPI = ("HTTPValidationError", "ValidationError")  # our own handler answers instead
OF_FASTAPI_422 = {"$ref": "#/components/schemas/HTTPValidationError"}


def install(app: FastAPI) -> None:
    """Complete the document when it is first asked for."""
    plain = app.openapi

    def completed() -> dict[str, Json]:
        if app.openapi_schema is None:
            complete(plain(), app)
        return plain()

    app.openapi = completed  # type: ignore[method-assign]


def complete(document: dict[str, Json], app: FastAPI) -> None:
    """Add security, problems and examples to FastAPI's document, in place."""
    components = document["components"]
    for name in OF_FASTAPI:
        components["schemas"].pop(name, None)
    examples = Examples(components["schemas"], vocabulary())
    for name, schema in components["schemas"].items():
        if "properties" in schema:
            schema["examples"] = [examples.of_schema(name)]
    components["schemas"]["Problem"] = refusals.SCHEMA
    components["responses"] = refusals.answers()
    components["securitySchemes"] = _schemes(app.state.settings.secure_cookies)
    for door in doors(app):
        for method in door.methods:
            operation = document["paths"].get(door.path, {}).get(method.lower())
            if operation is not None:
                _complete(operation, method, door.path, door.permissions, examples)


def _schemes(secure: bool) -> Json:
    words = {
        "edge": "Id of the edge",
        "time": "ISO 8601 instant, at most minutes from the service's own",
        "nonce": "16 random bytes as hex, used once",
        "signature": "hex Ed25519 by the edge's key over method, path, audience, time, nonce and "
        "SHA-256 of the body (`app/contracts/exchange.py`)",
    }
    edge = {
        f"edge_{part}": {"type": "apiKey", "in": "header", "name": HEADERS[part], "description": d}
        for part, d in words.items()
    }
    return {
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name(secure),
            "description": "Set by `POST /api/v1/session`, or by a sign-in on the pages",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token (`lwt_…`) of `POST /api/v1/tokens`; it reads",
        },
        **edge,
    }


def _security(method: str, permissions: frozenset[str]) -> list[dict[str, list[str]]]:
    if "anyone" in permissions:
        return []
    if "edge" in permissions:
        return [{f"edge_{part}": [] for part in ("edge", "time", "nonce", "signature")}]
    ways: list[dict[str, list[str]]] = [{"session": []}]
    return [*ways, {"token": []}] if method in SAFE_METHODS else ways


def _complete(
    operation: Json, method: str, path: str, permissions: frozenset[str], examples: Examples
) -> None:
    operation["summary"] = operation["summary"].capitalize()
    operation["security"] = _security(method, permissions)
    where = f"{method} {path}"
    for parameter in operation.get("parameters", ()):
        name, schema = parameter["name"], parameter["schema"]
        parameter["example"] = examples.parameter(name, schema, where)
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        _exemplify(media, f"request {where}", kind, examples)
    answers = operation["responses"]
    for status, answer in answers.items():
        of_answer = f"{status} {where}" if int(status) >= 300 else where
        for kind, media in answer.get("content", {}).items():
            _exemplify(media, of_answer, kind, examples)
    for status in _refusals(answers, permissions):
        answers[str(status)] = refusals.reference(status)


def _exemplify(media: Json, where: str, kind: str, examples: Examples) -> None:
    if media.get("schema") != OF_FASTAPI_422:
        media["example"] = examples.of(media["schema"], where if kind == JSON else kind)


def _refusals(answers: Json, permissions: frozenset[str]) -> Iterator[int]:
    """Those that the route names, and those that stand before every route of its kind."""
    named = {int(s) for s in answers if s.isdigit() and int(s) >= 400}
    own = {int(s) for s, a in answers.items() if JSON in a.get("content", {}) and int(s) >= 500}
    if "anyone" not in permissions:
        named |= {401} if "edge" in permissions else {401, 403}
    yield from sorted((named | {500, 503}) - own)
