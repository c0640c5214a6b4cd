"""Problem details (RFC 9457) as the OpenAPI document describes them: one answer a status."""

from __future__ import annotations

from typing import Any

from app.central.problems import MEDIA_TYPE

Json = Any
TEXT = {"type": "string"}
SCHEMA: Json = {
    "title": "Problem",
    "description": "A refusal as problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": TEXT | {"description": "always about:blank: the status says what kind it is"},
        "title": TEXT | {"description": "the kind in words"},
        "status": {"type": "integer", "description": "the HTTP status"},
        "detail": TEXT | {"description": "what, what was expected, what was got"},
        "reason": TEXT | {"description": "a closed, countable word, where there is one"},
        "error": TEXT | {"description": "of a 500: the number in the service's log"},
        "fields": {
            "type": "array",
            "description": "which parts of the request do not keep its schema",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": TEXT, "message": TEXT},
            },
        },
    },
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
NOT_KEPT = {"field": "body.days", "message": "Input should be less than or equal to 366"}
# Status, what it means, title, detail, and what else an example of it holds.
KINDS: tuple[tuple[int, str, str, str, Json], ...] = (
    (
        401,
        "Nobody knows who is calling, or a password or signature is not right",
        "Not authenticated",
        "log in first",
        {"reason": "session"},
    ),
    (403, "Known, but not permitted", "Forbidden", "permission to approve is needed", {}),
    (404, "Not there, or not for this person", "Not found", "no signal S-0099", {}),
    (
        409,
        "The state of the thing, or the rule of two people, does not allow it",
        "Not allowed now",
        "account mkeller exists",
        {},
    ),
    (413, "More bytes than are read", "Too large", "at most 2097152 bytes expected", {}),
    (
        422,
        "A value that cannot be used as it is",
        "Not usable",
        "the request does not keep its schema",
        {"fields": [NOT_KEPT]},
    ),
    (429, "More requests than are served", "Too many requests", "come again later", {}),
    (
        500,
        "A fault of the service, in its log under the number",
        "Internal error",
        "error 9f3c01ab",
        {"error": "9f3c01ab"},
    ),
    (503, "The database is not available", "Database unavailable", "try again", {}),
)


def answers() -> dict[str, Json]:
    """For `components.responses`, by name."""
    return {f"Problem{kind[0]}": _answer(*kind) for kind in KINDS}


def reference(status: int) -> Json:
    """What an operation says for a status."""
    return {"$ref": f"#/components/responses/Problem{status}"}


def _answer(status: int, meaning: str, title: str, detail: str, more: Json) -> Json:
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": said}}
    answer = {"description": meaning, "content": content}
    return answer | ({"headers": RETRY_AFTER} if status in {429, 503} else {})
