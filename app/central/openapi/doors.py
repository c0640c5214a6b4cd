"""The routes of an application with the permissions that each names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts


@dataclass(frozen=True)
class Door:
    """A method and path, and who may use it: permissions, "edge", "anyone", or nothing named."""

    methods: tuple[str, ...]
    path: str
    permissions: frozenset[str]


def doors(app: FastAPI) -> Iterator[Door]:
    """Every API route, also those of included routers."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            methods = tuple(sorted(context.methods or ()))
            path = (context.path or "").replace(":path}", "}")  # as the OpenAPI document has it
            yield Door(methods, path, frozenset(_permissions(context.dependant)))


def _permissions(dependant: object) -> Iterator[str]:
    permission = getattr(getattr(dependant, "call", None), "permission", None)
    if permission is not None:
        yield str(permission)
    for inner in getattr(dependant, "dependencies", ()):
        yield from _permissions(inner)
