from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contracts.exchange import Receipt, parse
from app.contracts.manifest import FileEntry, parse_manifest
from app.contracts.signing import canonical
from app.errors import ContractError
from tests.contracts.examples import DIGEST, a_manifest, a_receipt


def test_the_lock_digest_names_every_byte_of_the_manifest() -> None:
    manifest = a_manifest()

    assert a_manifest().lock_digest == manifest.lock_digest
    assert a_manifest(version="1.0.1").lock_digest != manifest.lock_digest


def test_a_copy_of_a_manifest_names_itself_anew() -> None:
    manifest = a_manifest()
    before = manifest.lock_digest

    copied = manifest.model_copy(update={"version": "1.0.1"})

    assert copied.lock_digest == a_manifest(version="1.0.1").lock_digest
    assert manifest.lock_digest == before
    assert manifest == a_manifest()


def test_bytes_that_are_not_canonical_are_refused() -> None:
    loose = json.dumps(json.loads(a_manifest().canonical), indent=1).encode()

    with pytest.raises(ContractError, match="not canonical"):
        parse_manifest(loose)


def test_an_unknown_field_is_refused() -> None:
    fields = json.loads(a_manifest().canonical) | {"extra": 1}

    with pytest.raises(ContractError, match="not a manifest of contract v1"):
        parse_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "path",
    ["../x.bin", "/etc/x.bin", "a/../x.bin", "a//b.bin", "A.bin", "x", "a\\b.bin", "a/./b.bin", ""],
)
def test_a_path_that_could_leave_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        FileEntry(path=path, length=0, sha256=DIGEST)


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=50).map(str.encode)))
def test_noise_is_never_a_manifest(noise: bytes) -> None:
    with pytest.raises(ContractError, match="not a manifest"):
        parse_manifest(noise)


def test_a_message_names_the_field_and_shows_no_value() -> None:
    fields = a_receipt().model_dump(mode="json") | {"epoch": "DOE^JANE"}

    with pytest.raises(ContractError, match="not a Receipt: epoch") as refused:
        parse(Receipt, json.dumps(fields).encode())

    assert "DOE" not in str(refused.value)


def test_a_day_until_which_to_install_is_said_only_where_there_is_one() -> None:
    """Bytes of a release without it, and so its lock digest, stay what they were."""
    dated = a_manifest(install_until=date(2028, 1, 31))

    assert "install_until" not in json.loads(a_manifest().canonical)
    assert json.loads(dated.canonical)["install_until"] == "2028-01-31"
    assert parse_manifest(dated.canonical) == dated
    with pytest.raises(ContractError, match="not canonical"):
        parse_manifest(canonical(json.loads(a_manifest().canonical) | {"install_until": None}))
