from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contracts import window as contract
from app.contracts.signing import canonical
from app.contracts.window import BODY_LIMIT, Table, decode, encode, read_header
from app.errors import ContractError, SignatureRefused
from tests.contracts.examples import END, KEY, OTHER_KEY, START, a_header, some_tables


def signed(body: bytes, **changes: object) -> bytes:
    """A window whose signature is right whatever the body holds."""
    header = replace(a_header(**changes), body_digest=hashlib.sha256(body).hexdigest())
    packed = contract._pack_header(header)
    parts = (b"LWW1", struct.pack(">I", len(packed)), packed, struct.pack(">I", len(body)), body)
    return b"".join(parts) + KEY.sign(contract.DOMAIN, packed)


def body_of(index: object, matrices: bytes = b"") -> bytes:
    head = canonical(index)
    return zstandard.compress(b"LWB1" + struct.pack(">I", len(head)) + head + matrices)


def test_a_window_comes_back_as_it_was() -> None:
    sent = encode(a_header(), some_tables(), KEY)

    got = decode(sent.raw, KEY.public)

    assert got.header == sent.header
    assert got.digest == sent.digest
    assert got.raw == sent.raw
    for name, table in sent.tables.items():
        assert got.tables[name].keys == table.keys
        np.testing.assert_array_equal(got.tables[name].values, table.values)


def test_another_key_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="does not verify"):
        decode(encode(a_header(), some_tables(), KEY).raw, OTHER_KEY.public)


@settings(max_examples=60)
@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    raw = bytearray(encode(a_header(), some_tables(), KEY).raw)
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << (bit % 8)

    with pytest.raises((ContractError, SignatureRefused)):
        decode(bytes(raw), KEY.public)


@settings(max_examples=60)
@given(st.integers(0, 2000))
def test_any_truncation_is_refused(cut: int) -> None:
    raw = encode(a_header(), some_tables(), KEY).raw

    with pytest.raises((ContractError, SignatureRefused)):
        decode(raw[: max(0, len(raw) - 1 - cut)], KEY.public)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_noise_is_refused_with_a_countable_reason(raw: bytes) -> None:
    with pytest.raises(ContractError) as refused:
        read_header(b"LWW1" + raw)

    assert refused.value.reason in {"truncated", "header", "not_a_window"}


def test_an_oversized_window_is_refused_before_anything_else() -> None:
    with pytest.raises(ContractError, match="limit 2097152"):
        decode(b"LWW1" + bytes(contract.WINDOW_LIMIT), KEY.public)


def test_a_compression_bomb_is_refused() -> None:
    bomb = zstandard.compress(bytes(BODY_LIMIT + 1))

    with pytest.raises(ContractError, match="body declares 16777217 bytes"):
        decode(signed(bomb), KEY.public)


def test_a_bomb_that_does_not_say_its_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    bomb = stream.compress(bytes(BODY_LIMIT + 1)) + stream.flush()

    with pytest.raises(ContractError, match="body of more than"):
        decode(signed(bomb), KEY.public)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "unreadable index"),
        ({"tables": [{"name": "patients", "columns": 1, "rows": []}]}, "not in the contract"),
        ({"tables": [{"name": "latency", "columns": 0, "rows": []}]}, "0 columns"),
        ({"tables": [{"name": "latency", "columns": 1 << 20, "rows": []}]}, "1048576 columns"),
        ({"tables": [{"name": "latency", "columns": 1, "rows": [["x"]] * 5000}]}, "5000 rows"),
        ({"tables": [{"name": "latency", "columns": 1, "rows": [["x"]]}]}, "8 bytes expected"),
        (
            {"tables": [{"name": "latency", "columns": 1, "rows": []}] * 2},
            "a table is named twice",
        ),
    ],
)
def test_a_malformed_index_is_refused(index: object, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        decode(signed(body_of(index)), KEY.public)


@pytest.mark.parametrize("key", [["a", "b"], [1], ["x" * 129], []])
def test_keys_are_few_short_strings(key: list[object]) -> None:
    index = {"tables": [{"name": "latency", "columns": 1, "rows": [key]}]}

    with pytest.raises(ContractError, match="short strings expected"):
        decode(signed(body_of(index, bytes(8))), KEY.public)


def test_a_key_stands_once() -> None:
    index = {"tables": [{"name": "latency", "columns": 1, "rows": [["x"], ["x"]]}]}

    with pytest.raises(ContractError, match="a key stands twice"):
        decode(signed(body_of(index, bytes(16))), KEY.public)


def test_bytes_after_the_last_table_are_refused() -> None:
    with pytest.raises(ContractError, match="3 bytes after the last table"):
        decode(signed(body_of({"tables": []}, b"abc")), KEY.public)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream": "patients"}, "stream: one of"),
        ({"lock_state": "fine"}, "lock_state: one of"),
        ({"clock_state": "late"}, "clock_state: one of"),
        ({"start": END, "end": START}, "end must be after start"),
        ({"known_answer_deviation": float("nan")}, "must be finite"),
        ({"known_answer_deviation": -1.0}, "must be finite and not negative"),
    ],
)
def test_an_impossible_header_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        decode(signed(body_of({"tables": []}), **changes), KEY.public)


def test_a_table_outside_the_contract_cannot_be_sent() -> None:
    table = Table((("x",),), np.zeros((1, 1), dtype=np.int64))

    with pytest.raises(ContractError, match="'patients' is not in the contract"):
        encode(a_header(), {"patients": table}, KEY)


def test_keys_and_rows_must_match() -> None:
    table = Table((("x",),), np.zeros((2, 1), dtype=np.int64))

    with pytest.raises(ContractError, match="keys and rows do not match"):
        encode(a_header(), {"latency": table}, KEY)


def test_a_window_too_large_for_the_wire_is_not_made() -> None:
    noise = np.random.default_rng(0).integers(0, 2**62, (4, 1 << 16))
    table = Table(tuple((str(i),) for i in range(4)), noise)

    with pytest.raises(ContractError, match="limit 2097152"):
        encode(a_header(), {"latency": table}, KEY)
