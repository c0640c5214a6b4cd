"""A statistical reference as exact bytes and back: dataclasses of `monitors` as canonical JSON.

Arrays are kept bit for bit (base64 of little-endian bytes) and floats as hexadecimal, so the
thawed reference gives the results of the frozen one. Only dataclasses of `monitors` are made.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
from typing import Any

import numpy as np

from app.contracts.signing import canonical
from app.errors import ContractError

ROOT = "monitors."


def freeze(value: Any) -> bytes:
    """Canonical bytes of a tree of dataclasses, tuples, dicts, arrays and plain values."""
    return canonical(_encoded(value))


def thaw(frozen: bytes) -> Any:
    """What `freeze` was given."""
    return _decoded(json.loads(frozen))


def _encoded(value: Any) -> Any:
    match value:
        case None | bool() | str():
            return value
        case np.ndarray():
            little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"))
            data = base64.b64encode(little.tobytes()).decode()
            return {"array": little.dtype.str, "shape": list(value.shape), "data": data}
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return {"float": float(value).hex()}
        case tuple():
            return [_encoded(item) for item in value]
        case dict():
            return {"dict": {key: _encoded(item) for key, item in value.items()}}
    return _encoded_dataclass(value)


def _encoded_dataclass(value: Any) -> dict[str, Any]:
    kind = type(value)
    if not (dataclasses.is_dataclass(kind) and kind.__module__.startswith(ROOT)):
        raise ContractError("frozen", f"a {kind.__name__} cannot be frozen")
    fields = {f.name: _encoded(getattr(value, f.name)) for f in dataclasses.fields(kind)}
    return {"type": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}


def _decoded(value: Any) -> Any:
    match value:
        case list():
            return tuple(_decoded(item) for item in value)
        case {"array": kind, "shape": shape, "data": data}:
            flat = np.frombuffer(base64.b64decode(data), dtype=np.dtype(kind))
            return flat.reshape(shape).astype(flat.dtype.newbyteorder("="))
        case {"float": text}:
            return float.fromhex(text)
        case {"dict": items}:
            return {key: _decoded(item) for key, item in items.items()}
        case {"type": name, "fields": fields}:
            made = _type(name)
            return made(**{key: _decoded(item) for key, item in fields.items()})
    return value


def _type(name: str) -> Any:
    module, _, kind = name.partition(":")
    if not module.startswith(ROOT):
        raise ContractError("frozen", f"{name!r} is not a type of monitors")
    found = getattr(importlib.import_module(module), kind, None)
    if not dataclasses.is_dataclass(found):
        raise ContractError("frozen", f"{name!r} is not a dataclass")
    return found
