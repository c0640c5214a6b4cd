"""Bodies and answers that are no model of ours, for `responses=` and `openapi_extra=` of routes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Json = Any
TEXT = {"type": "string"}
ENVELOPE_SCHEMA: Json = {
    "title": "Envelope",
    "description": "A DSSE envelope: canonical JSON in base64, and Ed25519 signatures over it.",
    "type": "object",
    "required": ["payloadType", "payload", "signatures"],
    "properties": {
        "payloadType": TEXT,
        "payload": TEXT,
        "signatures": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["keyid", "sig"],
                "properties": {"keyid": TEXT, "sig": TEXT},
            },
        },
    },
}
ENVELOPE: Json = {"application/json": {"schema": ENVELOPE_SCHEMA}}
OBJECT: Json = {"application/json": {"schema": {"type": "object"}}}


def file(*kinds: str) -> Json:
    """Content of these media types."""
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}


def takes(content: Json) -> Json:
    """`openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"content": content, "required": True}}


def takes_model(model: type[BaseModel]) -> Json:
    """The same for a contract that the route parses itself."""
    return takes({"application/json": {"schema": model.model_json_schema()}})
