"""Every contract as bytes on disk. A failing golden is a broken contract, not a stale file.

`LOCKWATCH_WRITE_GOLDEN=1` writes the files: only ever together with a new contract version.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.contracts.case_table import read_columns_map
from app.contracts.characteristics import CharacteristicSchema
from app.contracts.exchange import (
    OPERATING_POINT_TYPE,
    RECEIPT_TYPE,
    OperatingPoint,
    Receipt,
    parse,
)
from app.contracts.manifest import PAYLOAD_TYPE, parse_manifest
from app.contracts.signals import SignalsFile
from app.contracts.signing import canonical, open_sealed, seal
from app.contracts.window import decode, encode
from tests.contracts import examples

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, made: bytes) -> bytes:
    """The golden bytes of `name`; written first when asked."""
    path = GOLDEN / name
    if os.environ.get("LOCKWATCH_WRITE_GOLDEN"):
        path.write_bytes(made)
    return path.read_bytes()


def test_a_window_is_byte_for_byte_the_golden_one() -> None:
    window = encode(examples.a_header(), examples.some_tables(), examples.KEY)

    # zstd bytes may differ between library versions; what was signed then must still decode.
    kept = decode(golden("window.bin", window.raw), examples.KEY.public)

    assert kept.header.edge_id == "edge-7"
    assert set(kept.tables) == set(window.tables)
    for name, table in window.tables.items():
        assert kept.tables[name].keys == table.keys
        assert (kept.tables[name].values == table.values).all()


@pytest.mark.parametrize(
    ("name", "payload_type", "make"),
    [
        ("manifest.dsse", PAYLOAD_TYPE, lambda: json.loads(examples.a_manifest().canonical)),
        ("receipt.dsse", RECEIPT_TYPE, lambda: examples.a_receipt().model_dump(mode="json")),
        (
            "operating_point.dsse",
            OPERATING_POINT_TYPE,
            lambda: examples.an_operating_point().model_dump(mode="json"),
        ),
    ],
)
def test_a_sealed_artefact_is_byte_for_byte_the_golden_one(name, payload_type, make) -> None:
    made = seal(payload_type, make(), [examples.KEY])

    assert golden(name, made) == made


def test_golden_artefacts_still_parse() -> None:
    def payload(name: str, kind: str) -> bytes:
        return open_sealed(kind, (GOLDEN / name).read_bytes(), [examples.KEY.public])

    assert parse_manifest(payload("manifest.dsse", PAYLOAD_TYPE)) == examples.a_manifest()
    assert parse(Receipt, payload("receipt.dsse", RECEIPT_TYPE)) == examples.a_receipt()
    point = parse(OperatingPoint, payload("operating_point.dsse", OPERATING_POINT_TYPE))
    assert point == examples.an_operating_point()


def test_the_schema_survives_json_with_the_same_digest() -> None:
    spec = CharacteristicSchema.of(examples.a_schema())

    again = CharacteristicSchema.model_validate(json.loads(canonical(spec.model_dump(mode="json"))))

    assert again.digest == spec.digest
    assert again.layout().columns == examples.a_schema().columns


def test_signals_of_the_design_document_parse() -> None:
    signals = SignalsFile.model_validate_json((GOLDEN / "signals.json").read_bytes())

    [run] = signals.runs
    assert run.signals[0].history[-1].causes == ("scanner",)


def test_the_columns_map_of_the_design_document_parses() -> None:
    columns_map = read_columns_map(GOLDEN / "columns.toml")

    assert columns_map.columns.score == "score"
    assert columns_map.label_sources.random_audit == ("audit",)
    assert columns_map.operating_point is not None
