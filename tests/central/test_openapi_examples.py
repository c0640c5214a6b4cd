"""The OpenAPI document, walked: every operation says who may use it, what it takes and gives, by
examples that keep their own schemas, and every way in which it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

from app.central.accounts.models import Role
from app.central.openapi.document import complete
from app.central.openapi.doors import doors
from app.central.openapi.examples import Examples, UnknownField, vocabulary
from tests.central.test_api_walk import Walk
from tests.support.fleet import World

Json = Any
KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
FORMATS = {
    "date": date.fromisoformat,
    "date-time": lambda text: datetime.fromisoformat(text).utcoffset().total_seconds(),
    "time": time.fromisoformat,
    "password": str,
    "binary": str,
}
SAID = {"title", "description", "default", "example", "examples", "contentMediaType", "writeOnly"}
SAID |= {"type", "required"}  # looked at first, and with the properties
# Words that a generator writes where nobody has thought of anything.
EMPTY_WORDS = {"string", "text", "example", "foo", "bar", "?", "todo"}


class Document:
    """The document and what is wrong with a value, by its schema."""

    def __init__(self, whole: Json) -> None:
        self.whole = whole

    def resolved(self, part: Json) -> Json:
        while "$ref" in part:
            found = self.whole
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def operations(self) -> Iterator[tuple[str, Json]]:
        for path, methods in self.whole["paths"].items():
            for method, operation in methods.items():
                yield f"{method.upper()} {path}", operation

    def media(self, operation: Json) -> Iterator[tuple[str, Json]]:
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            yield f"request {kind}", media
        for status, answer in operation["responses"].items():
            for kind, media in self.resolved(answer).get("content", {}).items():
                yield f"{status} {kind}", media

    def faults(self, value: Json, schema: Json, where: str = "") -> list[str]:
        """What of a value does not keep a schema; a keyword that this does not know is a fault."""
        schema = self.resolved(schema)
        kind = schema.get("type")
        if kind and not _is_a(value, kind):
            return [f"{where}: {kind} expected, got {value!r}"]
        found: list[str] = []
        for keyword, said in schema.items():
            check = getattr(self, f"_{keyword.lower()}", None)
            if keyword in SAID:
                continue
            if check is None:
                found.append(f"{where}: keyword {keyword} is not known")
            else:
                found += check(value, said, schema, where)
        return found

    def _anyof(self, value: Json, said: Json, _: Json, where: str) -> list[str]:
        each = [self.faults(value, schema, where) for schema in said]
        return [] if [] in each else min(each, key=len)

    def _enum(self, value: Json, said: list[Json], _: Json, where: str) -> list[str]:
        return [] if value in said else [f"{where}: one of {said} expected, got {value!r}"]

    def _const(self, value: Json, said: Json, _: Json, where: str) -> list[str]:
        return [] if value == said else [f"{where}: {said!r} expected, got {value!r}"]

    def _pattern(self, value: Json, said: str, _: Json, where: str) -> list[str]:
        return [] if re.search(said, str(value)) else [f"{where}: {said} expected, got {value!r}"]

    def _format(self, value: Json, said: str, _: Json, where: str) -> list[str]:
        try:
            FORMATS[said](value)
        except (ValueError, TypeError, AttributeError):
            return [f"{where}: {said} expected, got {value!r}"]
        return []

    def _bound(self, fits: bool, said: Json, where: str) -> list[str]:
        return [] if fits else [f"{where}: bound {said}"]

    def _minimum(self, value: Json, said: float, _: Json, where: str) -> list[str]:
        return self._bound(value >= said, said, where)

    def _maximum(self, value: Json, said: float, _: Json, where: str) -> list[str]:
        return self._bound(value <= said, said, where)

    def _exclusiveminimum(self, value: Json, said: float, _: Json, where: str) -> list[str]:
        return self._bound(value > said, said, where)

    def _exclusivemaximum(self, value: Json, said: float, _: Json, where: str) -> list[str]:
        return self._bound(value < said, said, where)

    def _minlength(self, value: Json, said: int, _: Json, where: str) -> list[str]:
        return self._bound(len(value) >= said, said, where)

    def _maxlength(self, value: Json, said: int, _: Json, where: str) -> list[str]:
        return self._bound(len(value) <= said, said, where)

    _minitems, _maxitems = _minlength, _maxlength
    _minproperties, _maxproperties = _minlength, _maxlength

    def _items(self, value: Json, said: Json, _: Json, where: str) -> list[str]:
        return [f for i, v in enumerate(value) for f in self.faults(v, said, f"{where}[{i}]")]

    def _prefixitems(self, value: Json, said: list[Json], _: Json, where: str) -> list[str]:
        pairs = zip(value, said, strict=True)
        return [f for v, s in pairs for f in self.faults(v, s, where)]

    def _propertynames(self, value: Json, said: Json, _: Json, where: str) -> list[str]:
        return [f for name in value for f in self.faults(name, said, f"{where} name")]

    def _properties(self, value: Json, said: Json, schema: Json, where: str) -> list[str]:
        missing = [f"{where}: {n} is missing" for n in schema.get("required", ()) if n not in value]
        strange = [f"{where}: {n} is not of the schema" for n in value if n not in said]
        inner = [
            f
            for n, v in value.items()
            if n in said
            for f in self.faults(v, said[n], f"{where}.{n}")
        ]
        return missing + strange + inner

    def _additionalproperties(self, value: Json, said: Json, schema: Json, where: str) -> list[str]:
        if "properties" in schema or not isinstance(said, dict):
            return []
        return [f for n, v in value.items() for f in self.faults(v, said, f"{where}.{n}")]


def _is_a(value: Json, kind: str) -> bool:
    is_flag = isinstance(value, bool)
    return isinstance(value, KINDS[kind]) and not (is_flag and kind in {"integer", "number"})


@pytest.fixture
def document(world: World) -> Document:
    return Document(world.app.openapi())


def test_every_operation_says_what_it_is_and_who_may_use_it(
    world: World, document: Document
) -> None:
    permissions = {(m, d.path): d.permissions for d in doors(world.app) for m in d.methods}
    schemes = document.whole["components"]["securitySchemes"]
    operations = dict(document.operations())

    assert len(operations) > 80
    for where, operation in operations.items():
        method, path = where.split(" ")
        needed = permissions[method, path]
        named = {name for way in operation["security"] for name in way}
        assert operation["summary"] and operation["description"] and operation["tags"], where
        assert named <= set(schemes), where
        assert (named == set()) == ("anyone" in needed), where
        assert ("edge_signature" in named) == ("edge" in needed), where
        assert ("token" in named) == ("session" in named and method == "GET"), where


def test_whoever_comes_as_the_document_says_is_let_in(world: World, document: Document) -> None:
    scheme = document.whole["components"]["securitySchemes"]["session"]
    browser = world.browser("ann", Role.VIEWER)

    assert scheme["name"] in browser.cookies
    assert document.whole["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_every_body_answer_and_parameter_has_an_example_that_keeps_its_schema(
    document: Document,
) -> None:
    seen, faults = 0, []
    for where, operation in document.operations():
        for what, media in document.media(operation):
            assert "example" in media, f"{where}, {what}"
            seen += 1
            faults += document.faults(media["example"], media["schema"], f"{where}, {what}")
        for parameter in operation.get("parameters", ()):
            name = f"{where}, {parameter['name']}"
            faults += document.faults(parameter["example"], parameter["schema"], name)

    assert seen > 150
    assert faults == []


def test_every_schema_has_an_example_that_keeps_it(document: Document) -> None:
    schemas = {
        name: schema
        for name, schema in document.whole["components"]["schemas"].items()
        if "properties" in schema and name != "Problem"
    }

    assert len(schemas) > 90
    for name, schema in schemas.items():
        [example] = schema["examples"]
        assert document.faults(example, schema, name) == []


def words(value: Json) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from words(inner)


def test_an_example_says_something(document: Document) -> None:
    for where, operation in document.operations():
        for what, media in document.media(operation):
            assert not EMPTY_WORDS & set(words(media["example"])), f"{where}, {what}"


def test_what_the_service_reads_takes_the_example_of_its_body(world: World) -> None:
    """Beyond the schema: validators of the models, by which a caller's copy would be refused."""
    walk = Document(world.app.openapi())
    taken = 0
    for context in _routes(world.app):
        operation = walk.whole["paths"][context.path.replace(":path}", "}")][
            next(iter(context.methods)).lower()
        ]
        if context.body_field is None:
            continue
        example = operation["requestBody"]["content"]["application/json"]["example"]
        TypeAdapter(context.body_field.field_info.annotation).validate_python(example, strict=False)
        taken += 1

    assert taken >= 30


def _routes(app: FastAPI) -> Iterator[Any]:
    from fastapi.routing import APIRoute, iter_route_contexts

    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            yield context


def test_every_refusal_is_documented_with_its_kind(document: Document) -> None:
    for where, operation in document.operations():
        refused = {s: a for s, a in operation["responses"].items() if s >= "400"}
        assert {"500", "503"} <= set(refused), where
        if operation["security"]:
            assert "401" in refused, where
        if operation.get("parameters") or "requestBody" in operation:
            assert "422" in refused, where
        for status, answer in refused.items():
            content = document.resolved(answer)["content"]
            if "application/problem+json" in content:
                example = content["application/problem+json"]["example"]
                assert str(example["status"]) == status and example["type"] == "about:blank"
            else:
                assert (where, status) == ("GET /ready", "503")


def test_a_refusal_is_as_the_document_says(world: World, document: Document) -> None:
    walk = Walk(world)
    problem = document.whole["components"]["schemas"]["Problem"]
    admin = world.browser("ada", Role.ADMINISTRATOR)
    taken = {"name": "ada", "full_name": "A", "role": "viewer", "password": "long enough by far"}
    answers = [
        world.client.get("/api/v1/signals"),
        world.browser("ann", Role.VIEWER).get("/api/v1/accounts"),
        admin.get("/api/v1/signals/S-0099"),
        admin.post("/api/v1/accounts", json=taken),
        admin.post("/api/v1/tokens", json={}),
    ]

    assert [a.status_code for a in answers] == [401, 403, 404, 409, 422]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert document.faults(answer.json(), problem) == []
        shown = document.whole["components"]["responses"][f"Problem{answer.status_code}"]
        title = shown["content"]["application/problem+json"]["example"]["title"]
        assert answer.json()["title"] == title
    assert walk.operations()


def test_what_the_service_gives_keeps_the_schema_that_it_documents(
    world: World, document: Document
) -> None:
    edge = world.an_edge()
    edge.send(edge.window())
    admin = world.browser("ada", Role.ADMINISTRATOR)
    given = 0
    for where, operation in document.operations():
        method, path = where.split(" ")
        if method != "GET" or operation.get("parameters") or "edge" in path.split("/")[1]:
            continue
        answer = admin.get(path)
        media = operation["responses"]["200"].get("content", {}).get("application/json")
        if answer.status_code == 200 and media:
            assert document.faults(answer.json(), media["schema"], where) == []
            given += bool(answer.json())

    assert given > 6


def test_a_field_that_nobody_has_thought_of_has_no_example() -> None:
    schema = {"properties": {"unheard_of": {"type": "string"}}}

    with pytest.raises(UnknownField, match=r"Made\.unheard_of: no example"):
        Examples({"Made": schema}, vocabulary()).of_schema("Made")


def test_every_word_of_the_vocabulary_is_used(world: World) -> None:
    """Schemas come and go; what is left behind in the table would lie there for good."""
    used: set[tuple[str, str]] = set()

    class Noting(dict):  # type: ignore[type-arg]
        def __init__(self, owner: str, words: Json) -> None:
            super().__init__(words)
            self.owner = owner

        def __getitem__(self, name: str) -> Json:
            used.add((self.owner, name))
            return super().__getitem__(name)

    tables = {n: Noting(n, t) if isinstance(t, dict) else t for n, t in vocabulary().items()}
    plain = FastAPI.openapi(world.app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.central.openapi.document.vocabulary", lambda: tables)
        complete(plain, world.app)

    known = {(n, f) for n, t in tables.items() if isinstance(t, dict) for f in t}
    assert sorted(known - used) == []


def test_the_validator_of_these_tests_sees_faults(document: Document) -> None:
    class Made(BaseModel):
        name: str
        days: int

    schema = Made.model_json_schema()
    for value in ({"name": "a"}, {"name": 1, "days": 1}, {"name": "a", "days": 1, "x": 1}):
        assert document.faults(value, schema)
        if "x" not in value:
            with pytest.raises(ValidationError):
                Made.model_validate(value, strict=True)
    assert document.faults({"name": "a", "days": 1}, schema) == []
    assert document.faults("a", {"type": "string", "newKeyword": 1}) != []
    assert document.faults("2026-03-10T12:00:00", {"type": "string", "format": "date-time"}) != []
