"""Examples for the OpenAPI document, put together from what each field is known to hold.

`examples.toml` is the vocabulary. A field that it does not know raises: an example says
something, or there is none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

VOCABULARY = Path(__file__).with_name("examples.toml")
REF = "#/components/schemas/"
MODULE = "app__central__"  # in names of schemas that two modules have
Json = Any


class UnknownField(LookupError):
    """Nothing is known to put into a field."""


class Examples:
    """Examples of the schemas of one document."""

    def __init__(self, schemas: Mapping[str, Json], words: Mapping[str, Json]) -> None:
        self.schemas = schemas
        self.words = words
        self.null = frozenset(words["null"])

    def of_schema(self, name: str) -> Json:
        """An example of a schema of the document."""
        # What is taken in and what is given of one model share their words.
        owner = name.removeprefix(MODULE)
        if owner == "PlanDocument-Input":
            owner = "recalibration__plans__PlanDocument"
        return self._plain(self.schemas[name], owner, owner)

    def of(self, schema: Json, where: str) -> Json:
        """An example of what a request or an answer holds at `where` (method and path)."""
        raw, differing = self.words["raw"], self.words["differs"]
        usual = raw[where] if where in raw else self._plain(schema, "raw", where)
        if where not in differing:
            return usual
        own = dict(differing[where])
        return usual | dict.fromkeys(own.pop("null", ())) | own

    def parameter(self, name: str, schema: Json, where: str) -> Json:
        """An example of a parameter of a path or query, of this operation or of any."""
        known = self.words["parameter"]
        own = f"{where} {name}"
        return known[own] if own in known else self._field(schema, "parameter", name)

    def _field(self, schema: Json, owner: str, field: str) -> Json:
        if field in self.null or f"{owner}.{field}" in self.null:
            return None
        own = self.words.get(owner, {})
        if field in own:
            return own[field]
        return self._plain(schema, owner, field)

    def _plain(self, schema: Json, owner: str, field: str) -> Json:
        for chosen in schema.get("anyOf", ()):
            if chosen.get("type") != "null":
                return self._plain(chosen, owner, field)
        if "$ref" in schema:
            return self.of_schema(schema["$ref"].removeprefix(REF))
        if "properties" in schema:
            owner = owner if owner == field else schema["title"]
            parts = schema["properties"].items()
            return {name: self._field(part, owner, name) for name, part in parts}
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if field in self.words["any"]:
            return self.words["any"][field]
        if schema.get("type") == "array":
            return [self._plain(schema["items"], owner, field)]
        raise UnknownField(f"{owner}.{field}: no example in {VOCABULARY.name}")


@cache
def vocabulary() -> Mapping[str, Json]:
    """What fields are known to hold."""
    return tomllib.loads(VOCABULARY.read_text())
