"""Bundles that must not be opened. The list follows The Update Framework's attacks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.contracts.manifest import (
    PAYLOAD_TYPE,
    FileEntry,
    OperatingPointEntry,
    SentinelSet,
    Stage,
    Threshold,
)
from app.contracts.signing import SigningKey, canonical, seal, sha256
from app.device.build import add_signature, entries, packed_arrays, write_bundle
from app.device.bundle import MANIFEST, SIGNATURE, BundleRefused, open_bundle
from app.errors import AppError, ContractError, SignatureRefused
from tests.contracts.examples import a_manifest
from tests.device.conftest import written
from tests.support.chest_bundle import KEY

SECOND, STRANGER = SigningKey.from_seed(b"2" * 32), SigningKey.from_seed(b"3" * 32)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def sign_raw(folder: Path, payload: object) -> None:
    """Sign any JSON as if it were a manifest."""
    (folder / MANIFEST).write_bytes(canonical(payload))
    (folder / SIGNATURE).write_bytes(seal(PAYLOAD_TYPE, payload, [KEY]))


def test_a_sound_bundle_opens_and_is_named_by_its_manifest(folder: Path) -> None:
    opened = open_bundle(folder, [KEY.public], 1)

    assert opened.lock_digest == sha256((folder / MANIFEST).read_bytes())
    assert opened.read("known_answers.npz") == b"abc"


# Signatures ----------------------------------------------------------------------------------


def test_a_bundle_without_signature_is_refused(folder: Path) -> None:
    (folder / SIGNATURE).unlink()

    with pytest.raises(BundleRefused, match=r"manifest\.sig: cannot be read"):
        open_bundle(folder, [KEY.public], 1)


def test_a_bundle_signed_by_a_stranger_or_a_removed_key_is_refused(folder: Path) -> None:
    with pytest.raises(SignatureRefused, match="1 trusted signatures expected, got 0"):
        open_bundle(folder, [STRANGER.public], 1)


def test_the_same_key_twice_is_one_signature(folder: Path) -> None:
    add_signature(folder, KEY)

    with pytest.raises(SignatureRefused, match="2 trusted signatures expected, got 1"):
        open_bundle(folder, [KEY.public, SECOND.public, KEY.public], 2)


def test_a_second_person_s_signature_counts(folder: Path) -> None:
    add_signature(folder, SECOND)

    opened = open_bundle(folder, [KEY.public, SECOND.public], 2)

    assert opened.manifest.device == "ChestTriage"


def test_a_threshold_below_one_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        open_bundle(folder, [KEY.public], 0)


def test_the_key_id_in_the_envelope_decides_nothing(folder: Path) -> None:
    envelope = json.loads((folder / SIGNATURE).read_bytes())
    envelope["signatures"][0]["keyid"] = STRANGER.key_id
    (folder / SIGNATURE).write_bytes(json.dumps(envelope).encode())

    open_bundle(folder, [KEY.public], 1)
    with pytest.raises(SignatureRefused, match="got 0"):
        open_bundle(folder, [STRANGER.public], 1)


def test_nothing_is_parsed_before_the_signature_is_verified(folder: Path) -> None:
    sign_raw(folder, {"not": "a manifest"})

    with pytest.raises(SignatureRefused, match="got 0"):
        open_bundle(folder, [STRANGER.public], 1)
    with pytest.raises(ContractError, match="not a manifest"):
        open_bundle(folder, [KEY.public], 1)


# Bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["known_answers.npz", "classifier.pt2"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_one_flipped_bit_in_a_file_is_refused_by_its_name(
    folder: Path, name: str, share: float
) -> None:
    size = (folder / name).stat().st_size
    flip(folder / name, int(share * size))

    with pytest.raises(BundleRefused, match=f"{name}: not the file that was signed"):
        open_bundle(folder, [KEY.public], 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_one_flipped_bit_in_the_manifest_is_refused(folder: Path, share: float) -> None:
    flip(folder / MANIFEST, int(share * (folder / MANIFEST).stat().st_size))

    with pytest.raises(BundleRefused, match=r"manifest\.json is not what was signed"):
        open_bundle(folder, [KEY.public], 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_one_flipped_bit_in_the_envelope_is_refused(folder: Path, share: float) -> None:
    flip(folder / SIGNATURE, int(share * (folder / SIGNATURE).stat().st_size))

    with pytest.raises((ContractError, SignatureRefused, BundleRefused)):
        open_bundle(folder, [KEY.public], 1)


def test_a_file_altered_while_running_is_found_by_the_next_proof(folder: Path) -> None:
    opened = open_bundle(folder, [KEY.public], 1)
    opened.rehash()

    flip(folder / "classifier.pt2", 200)

    with pytest.raises(BundleRefused, match=r"classifier\.pt2"):
        opened.rehash()
    with pytest.raises(BundleRefused, match=r"classifier\.pt2"):
        opened.read("classifier.pt2")


def test_a_manifest_altered_while_running_is_found_by_the_next_proof(folder: Path) -> None:
    opened = open_bundle(folder, [KEY.public], 1)

    flip(folder / MANIFEST, 10)

    with pytest.raises(BundleRefused, match=r"manifest\.json"):
        opened.rehash()


def test_a_shorter_a_longer_and_a_missing_file_are_refused(folder: Path) -> None:
    path = folder / "known_answers.npz"
    for data, message in ((b"ab", "3 bytes expected, got 2"), (b"abcd", "at most 3 bytes")):
        path.write_bytes(data)
        with pytest.raises(BundleRefused, match=message):
            open_bundle(folder, [KEY.public], 1)
    path.unlink()
    with pytest.raises(BundleRefused, match=r"known_answers\.npz: cannot be read"):
        open_bundle(folder, [KEY.public], 1)


def test_valid_files_of_two_releases_do_not_mix(
    tmp_path: Path, folder: Path, files: dict[str, bytes]
) -> None:
    other = written(tmp_path / "other", files | {"known_answers.npz": b"xyz"}, release_counter=2)

    shutil.copy(other / "known_answers.npz", folder / "known_answers.npz")

    with pytest.raises(BundleRefused, match=r"known_answers\.npz: not the file"):
        open_bundle(folder, [KEY.public], 1)


def test_an_older_release_is_a_rollback(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = written(tmp_path / "bundle", files, release_counter=4)

    open_bundle(folder, [KEY.public], 1, minimum_release=4)
    with pytest.raises(BundleRefused, match="release 5 or later expected, got 4"):
        open_bundle(folder, [KEY.public], 1, minimum_release=5)


# Paths ---------------------------------------------------------------------------------------


def test_files_that_are_not_named_are_ignored_and_cannot_be_read(folder: Path) -> None:
    (folder / "extra.pt2").write_bytes(b"anything")

    opened = open_bundle(folder, [KEY.public], 1)

    with pytest.raises(BundleRefused, match=r"extra\.pt2 is not named"):
        opened.read("extra.pt2")
    with pytest.raises(BundleRefused, match="is not named"):
        opened.read("../bundle/manifest.json")


@pytest.mark.parametrize(
    "name",
    ["../evil.npz", "/etc/evil.npz", "a//b.npz", "a/../b.npz", "a\\b.npz", "A.npz", ".hidden.npz",
     "a/./b.npz", "name", "x" * 140 + ".npz", "tab\t.npz"],
)  # fmt: skip
def test_a_signed_path_trick_is_refused(folder: Path, name: str) -> None:
    payload = json.loads((folder / MANIFEST).read_bytes())
    payload["files"][0]["path"] = name
    sign_raw(folder, payload)

    with pytest.raises(ContractError, match="not a manifest"):
        open_bundle(folder, [KEY.public], 1)


def test_a_signed_length_of_ten_gigabytes_is_refused(folder: Path) -> None:
    payload = json.loads((folder / MANIFEST).read_bytes())
    payload["files"][0]["length"] = 10 << 30
    sign_raw(folder, payload)

    with pytest.raises(ContractError, match="not a manifest"):
        open_bundle(folder, [KEY.public], 1)


def test_a_link_instead_of_a_file_or_a_folder_is_refused(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder = written(
        tmp_path / "bundle",
        files | {"more/known_answers.npz": b"abc"},
    )
    outside = tmp_path / "outside"
    shutil.copytree(folder / "more", outside)

    shutil.rmtree(folder / "more")
    (folder / "more").symlink_to(outside)
    with pytest.raises(BundleRefused, match="got a link"):
        open_bundle(folder, [KEY.public], 1)

    (folder / "more").unlink()
    shutil.copytree(outside, folder / "more")
    open_bundle(folder, [KEY.public], 1)
    (folder / "known_answers.npz").unlink()
    (folder / "known_answers.npz").symlink_to(outside / "known_answers.npz")
    with pytest.raises(BundleRefused, match="got a link"):
        open_bundle(folder, [KEY.public], 1)


def test_a_pipe_or_a_folder_instead_of_a_file_is_refused_without_waiting(folder: Path) -> None:
    path = folder / "known_answers.npz"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleRefused, match="a regular file expected"):
        open_bundle(folder, [KEY.public], 1)
    path.unlink()
    path.mkdir()
    with pytest.raises(BundleRefused, match=r"known_answers\.npz"):
        open_bundle(folder, [KEY.public], 1)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path, folder: Path) -> None:
    payload = json.loads((folder / MANIFEST).read_bytes())
    payload["files"].append(payload["files"][0])
    sign_raw(folder, payload)

    with pytest.raises(BundleRefused, match="names a file twice"):
        open_bundle(folder, [KEY.public], 1)


def test_a_file_that_is_used_but_not_named_is_refused(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder = written(tmp_path / "bundle", files, projection="projection.npz")

    with pytest.raises(BundleRefused, match=r"used but not named: projection\.npz"):
        open_bundle(folder, [KEY.public], 1)


def test_pickled_arrays_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, pixels=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    folder = written(tmp_path / "bundle", files | {"known_answers.npz": buffer.getvalue()})

    opened = open_bundle(folder, [KEY.public], 1)

    with pytest.raises(BundleRefused, match=r"known_answers\.npz: plain arrays expected"):
        opened.arrays("known_answers.npz")


def test_arrays_that_would_fill_the_memory_are_refused(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr("app.device.bundle.ARRAYS_LIMIT", 10_000)
    bomb = packed_arrays(pixels=np.zeros(100_000, dtype=np.uint8))
    folder = written(tmp_path / "bundle", files | {"known_answers.npz": bomb})

    opened = open_bundle(folder, [KEY.public], 1)

    with pytest.raises(BundleRefused, match="at most 10000 bytes of arrays expected"):
        opened.arrays("known_answers.npz")


# Meaning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"operating_points": (
                OperatingPointEntry(
                    id="OP-1", thresholds=(Threshold(stage="classifier", value=0.26),)
                ),
            )},
            "a threshold on a score-bin edge expected",
        ),
        (
            {"operating_points": (
                OperatingPointEntry(id="OP-1", thresholds=(Threshold(stage="other", value=0.25),)),
            )},
            "a threshold on a score-bin edge expected",
        ),
        ({"default_operating_point": "OP-9"}, "the default operating point is not listed"),
        (
            {"stages": (Stage(name="detector", kind="detector"),)},
            "a stage that does not exist",
        ),
        (
            {"stages": (
                Stage(name="classifier", kind="classifier"),
                Stage(name="classifier", kind="threshold"),
            )},
            "two stages have the same name",
        ),
        (
            {"stages": (
                Stage(name="classifier", kind="classifier", inputs=("image", "lungs")),
            )},
            "stage classifier: nothing before it gives lungs",
        ),
        (
            {"stages": (
                Stage(name="lungs", kind="segmenter", inputs=("image",), outputs=("lungs",)),
                Stage(name="classifier", kind="classifier", outputs=("lungs",)),
            )},
            "stage classifier: lungs is given twice",
        ),
        (
            {"stages": (Stage(name="classifier", kind="classifier", outputs=("image",)),)},
            "stage classifier: image is given twice",
        ),
        ({"minimum_agent": "99.0"}, r"agent 99\.0 or later expected, got"),
        ({"minimum_agent": "soon"}, "a version of numbers and dots expected"),
        (
            {"sentinel": SentinelSet(file="known_answers.npz", cases=5, tolerance=0)},
            "disagree about the number of images",
        ),
    ],
)  # fmt: skip
def test_a_bundle_that_contradicts_itself_is_refused(
    tmp_path: Path, files: dict[str, bytes], changes: dict[str, object], message: str
) -> None:
    folder = written(tmp_path / "bundle", files, **changes)

    with pytest.raises(BundleRefused, match=message):
        open_bundle(folder, [KEY.public], 1)


def test_a_schema_that_has_no_layout_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    schema = a_manifest().schema_
    broken = schema.model_copy(
        update={"sentinels": 0, "label_bins": tuple(reversed(schema.label_bins))}
    )
    folder = written(tmp_path / "bundle", files, schema_=broken)

    with pytest.raises(BundleRefused, match="the schema contradicts itself"):
        open_bundle(folder, [KEY.public], 1)


def test_a_manifest_that_is_not_canonical_is_refused(folder: Path) -> None:
    payload = json.loads((folder / MANIFEST).read_bytes())
    payload["version"] = payload["version"]
    del payload["projection"]  # a default that the canonical form writes out
    sign_raw(folder, payload)

    with pytest.raises(ContractError, match="not canonical"):
        open_bundle(folder, [KEY.public], 1)


# Writing -------------------------------------------------------------------------------------


def test_a_bundle_is_never_written_over_another(folder: Path, files: dict[str, bytes]) -> None:
    before = (folder / MANIFEST).read_bytes()

    with pytest.raises(BundleRefused, match="a new folder expected, bundle exists"):
        write_bundle(folder, a_manifest(files=entries(files)), files, [KEY])

    assert (folder / MANIFEST).read_bytes() == before


def test_a_bundle_that_cannot_be_finished_is_not_there(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    spoiled = files | {"classifier.pt2": b"not a program"}

    with pytest.raises(Exception, match=r"classifier\.pt2"):
        write_bundle(tmp_path / "bundle", a_manifest(files=entries(spoiled)), spoiled, [KEY])

    assert not (tmp_path / "bundle").exists()


def test_only_what_the_manifest_names_is_written(tmp_path: Path, files: dict[str, bytes]) -> None:
    wrong = (FileEntry(path="known_answers.npz", length=3, sha256="0" * 64),)

    with pytest.raises(BundleRefused, match="names other files than are written"):
        write_bundle(tmp_path / "bundle", a_manifest(files=wrong), files, [KEY])


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, files: dict[str, bytes]) -> None:
    first, second = (written(tmp_path / name, files) for name in ("first", "second"))

    for name in (MANIFEST, SIGNATURE, *files):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


# Fuzz ----------------------------------------------------------------------------------------

_PLACES = st.lists(st.integers(0, 40), min_size=1, max_size=6)
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=8), st.just([]),
    st.just({}), st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


def spoiled(payload: Any, places: list[int], value: object, *, drop: bool) -> Any:
    """`payload` with one of its inner values replaced or taken away."""
    node = payload
    for depth, place in enumerate(places):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[place % len(keys)]
        inner = node[key]
        if depth == len(places) - 1 or not isinstance(inner, dict | list) or not inner:
            if drop:
                del node[key]
            else:
                node[key] = value
            return payload
        node = inner
    return payload


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(places=_PLACES, value=_VALUES, drop=st.booleans())
def test_a_signed_manifest_with_one_wrong_value_is_refused_or_sound(
    folder: Path, places: list[int], value: object, drop: bool
) -> None:
    """Whatever a signer's tool got wrong: a refusal of ours, never a traceback of a library."""
    original = (folder / MANIFEST).read_bytes()
    envelope = (folder / SIGNATURE).read_bytes()
    try:
        sign_raw(folder, spoiled(json.loads(original), places, value, drop=drop))
        with contextlib.suppress(AppError):
            open_bundle(folder, [KEY.public], 1)
    except ContractError as error:  # what cannot be canonical JSON cannot be signed
        assert error.reason == "not_canonical"  # noqa: PT017
    finally:
        (folder / MANIFEST).write_bytes(original)
        (folder / SIGNATURE).write_bytes(envelope)
