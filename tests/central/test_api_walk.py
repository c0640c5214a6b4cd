"""Walk the whole documented API with values that fit and values that do not: never a 500.

The OpenAPI document says what each operation takes; the permission that its route names says
who may ask.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import clock
from app.central.accounts.models import Role
from app.central.accounts.permissions import GRANTS
from app.central.openapi.doors import doors
from app.central.surveillance.service import raise_event
from tests.support.fleet import PASSWORD, World

Json = Any
NASTY = ("", "\x00", "a\x00b", "x" * 5000, "😀", "../..", "%00", "-1", "1e9", "nan", "'; --")
WORDS = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))
WHOLE = st.sampled_from((-(1 << 70), -1, 0, 1, 2, 7, 1 << 31, 1 << 63, 1 << 70))
JUNK: st.SearchStrategy[Json] = st.one_of(
    *(st.none(), st.booleans(), WHOLE, WORDS, st.just([]), st.just({}))
)
DATES = st.sampled_from(("2026-03-01", "0001-01-01", "9999-12-31", "2026-02-30"))
TIMES = st.sampled_from(
    ("2026-03-10T12:00:00Z", "2026-03-10T12:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59")
)


class Walk:
    """The operations of an application and values for what they take."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.document = world.app.openapi()
        self.known = self._things()
        self.people: dict[str, TestClient] = {}
        self.permissions = {(m, d.path): d.permissions for d in doors(world.app) for m in d.methods}

    def _things(self) -> list[str]:
        edge = self.world.an_edge()
        edge.send(edge.window())
        with self.world.sessions.begin() as session:
            raise_event(
                session,
                self.world.lock_digest,
                source="walk",
                event="silence",
                cause="data_quality",
                site="H01",
                announce=lambda *_: None,
                now=clock.now(),
            )
        return [self.world.lock_digest, edge.edge_id, "S-0001", "H01"]

    def operations(self) -> list[tuple[str, str, dict[str, Json]]]:
        return [
            (method.upper(), path, operation)
            for path, methods in sorted(self.document["paths"].items())
            for method, operation in sorted(methods.items())
        ]

    def client(self, method: str, path: str) -> TestClient:
        """Somebody who may use this route, so that its own code is what answers."""
        wanted = self.permissions[method, path]
        role = next((r for r in Role if wanted <= set(GRANTS[r])), Role.ADMINISTRATOR)
        if role not in self.people:
            self.people[role] = self.world.browser(f"walker {role.value}", role)
        return self.people[role]

    def values(self, schema: dict[str, Json], depth: int = 0) -> st.SearchStrategy[Json]:
        """Values of a schema, and now and then something else."""
        return st.one_of(*[self._fitting(schema, depth)] * 3, JUNK)

    def _fitting(self, schema: dict[str, Json], depth: int) -> st.SearchStrategy[Json]:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._fitting(self.document["components"]["schemas"][name], depth)
        if "anyOf" in schema:
            return st.one_of(*(self._fitting(s, depth) for s in schema["anyOf"]))
        if "enum" in schema or "const" in schema:
            return st.sampled_from(schema.get("enum") or [schema["const"]])
        match schema.get("type"):
            case "string":
                return self._text(schema)
            case "integer" | "number":
                return WHOLE
            case "boolean":
                return st.booleans()
            case "array":
                return st.lists(self.values(schema.get("items", {}), depth + 1), max_size=3)
            case "object" if depth < 5:
                return self._object(schema, depth)
        return JUNK

    def _text(self, schema: dict[str, Json]) -> st.SearchStrategy[str]:
        match schema.get("format"):
            case "date":
                return DATES
            case "date-time":
                return TIMES
            case "password":
                return st.sampled_from((PASSWORD, "wrong password"))
        return st.one_of(st.sampled_from(self.known), WORDS)

    def _object(self, schema: dict[str, Json], depth: int) -> st.SearchStrategy[Json]:
        fields = {k: self.values(v, depth + 1) for k, v in schema.get("properties", {}).items()}
        needed = {k: v for k, v in fields.items() if k in schema.get("required", ())}
        rest = {k: v for k, v in fields.items() if k not in needed}
        return st.fixed_dictionaries(needed, optional=rest)

    def request(self, draw: st.DataObject, method: str, path: str, operation: Json) -> Any:
        """Draw the request's parts and ask."""
        filled, query = path, {}
        for parameter in operation.get("parameters", ()):
            value = draw.draw(self.values(parameter["schema"]))
            if parameter["in"] == "path":
                filled = filled.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
            elif value is not None:
                query[parameter["name"]] = str(value)
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        content = {"json": draw.draw(self.values(body.get("schema", {})))} if body else {}
        return self.client(method, path).request(method, filled, params=query, **content)


@pytest.fixture
def walk(world: World) -> Walk:
    return Walk(world)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(draw=st.data())
def walk_through(walk: Walk, draw: st.DataObject) -> None:
    for method, path, operation in walk.operations():
        answer = walk.request(draw, method, path, operation)
        where = f"{method} {answer.request.url}"
        if path == "/ready" and answer.status_code == 503:
            continue  # no worker runs here, and it says so
        assert answer.status_code < 500, f"{where}: {answer.request.content[:300]!r}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", where


def test_whatever_is_asked_the_answer_is_never_an_error_of_ours(walk: Walk) -> None:
    walk_through(walk)


def test_every_operation_is_described(world: World) -> None:
    operations = [
        (path, operation)
        for path, methods in world.app.openapi()["paths"].items()
        for operation in methods.values()
    ]

    assert len(operations) > 35
    assert [path for path, o in operations if not o.get("description") or not o.get("tags")] == []
