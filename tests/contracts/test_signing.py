from __future__ import annotations

import json

import pytest

from app.contracts.signing import SigningKey, canonical, open_sealed, seal, verify
from app.errors import ContractError, SignatureRefused
from tests.contracts.examples import KEY, OTHER_KEY

TYPE = "application/vnd.lockwatch.test+json"


def test_a_threshold_counts_unique_keys() -> None:
    twice = seal(TYPE, {"a": 1}, [KEY, KEY])

    with pytest.raises(SignatureRefused, match="2 trusted signatures expected, got 1"):
        open_sealed(TYPE, twice, [KEY.public, KEY.public, OTHER_KEY.public], threshold=2)


def test_two_of_two_open() -> None:
    sealed = seal(TYPE, {"a": 1}, [KEY, OTHER_KEY])

    assert open_sealed(TYPE, sealed, [KEY.public, OTHER_KEY.public], threshold=2) == b'{"a":1}'


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="1 trusted signatures expected, got 0"):
        open_sealed(TYPE, seal(TYPE, {}, [OTHER_KEY]), [KEY.public])


def test_the_payload_type_is_covered() -> None:
    sealed = json.loads(seal(TYPE, {}, [KEY]))
    sealed["payloadType"] = "application/other"

    with pytest.raises(ContractError, match="payload type"):
        open_sealed(TYPE, json.dumps(sealed).encode(), [KEY.public])
    with pytest.raises(SignatureRefused):
        open_sealed("application/other", json.dumps(sealed).encode(), [KEY.public])


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"payload":"!"}', b"[" * 100_000])
def test_something_else_than_an_envelope_is_refused(broken: bytes) -> None:
    with pytest.raises(ContractError, match="not a DSSE envelope"):
        open_sealed(TYPE, broken, [KEY.public])


def test_a_threshold_of_zero_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        open_sealed(TYPE, seal(TYPE, {}, [KEY]), [KEY.public], threshold=0)


def test_a_signature_of_one_domain_is_none_of_another() -> None:
    signature = KEY.sign("one", b"message")

    verify(KEY.public, "one", b"message", signature)
    with pytest.raises(SignatureRefused, match="over two does not verify"):
        verify(KEY.public, "two", b"message", signature)


def test_domain_and_message_do_not_run_into_each_other() -> None:
    with pytest.raises(SignatureRefused):
        verify(KEY.public, "ab", b"c", KEY.sign("a", b"bc"))


def test_not_a_number_is_not_canonical() -> None:
    with pytest.raises(ContractError, match="not canonical JSON"):
        canonical({"x": float("nan")})


def test_a_key_is_kept_for_its_owner_only(tmp_path) -> None:
    path = tmp_path / "keys" / "edge.key"

    key = SigningKey.load_or_create(path)

    assert SigningKey.load_or_create(path).public == key.public
    assert path.stat().st_mode & 0o777 == 0o600
