"""Attacks on the way of a release into an edge, after the list of The Update Framework's tests.

The manufacturer is a repository in memory: it publishes releases, and an attacker picks what of
it a hospital gets to see.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
import torch

from app.contracts.manifest import PAYLOAD_TYPE
from app.contracts.signing import SigningKey, canonical, seal
from app.device.build import add_signature, entries, write_bundle
from app.device.bundle import MANIFEST, SIGNATURE, BundleRefused, open_bundle
from app.device.programs import write_program
from app.edge import installation
from app.edge.checks import checks
from app.edge.commands import edge as command_line
from app.edge.journal import Journal, set_meta
from app.edge.settings import EdgeSettings, load
from app.errors import AppError, SignatureRefused
from tests.contracts.examples import a_manifest
from tests.device.conftest import Doubling
from tests.edge.test_settings import written

FIRST, SECOND, FORMER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
TODAY = date(2026, 3, 10)


@dataclass
class Manufacturer:
    """What has been released, by counter. `keys`: who signs."""

    home: Path
    program: bytes
    keys: Sequence[SigningKey] = (FIRST, SECOND)
    released: dict[int, Path] = field(default_factory=dict)

    def release(self, counter: int, answers: bytes = b"abc", **changes: object) -> Path:
        """Publish a release, signed by everybody in turn."""
        files = {"known_answers.npz": answers, "classifier.pt2": self.program}
        schema = a_manifest().schema_.model_copy(update={"sentinels": 0})
        manifest = a_manifest(
            files=entries(files), sentinel=None, release_counter=counter, version=f"1.{counter}.0"
        ).model_copy(update={"schema_": schema, **changes})
        folder = self.home / f"{counter}-{len(list(self.home.iterdir()))}"
        write_bundle(folder, manifest, files, self.keys[:1])
        for key in self.keys[1:]:
            add_signature(folder, key)
        self.released[counter] = folder
        return folder


@dataclass
class Hospital:
    """An edge that is not running: its settings, and what is installed."""

    settings: EdgeSettings

    def install(self, folder: Path, central: int = 0, today: date = TODAY) -> int:
        """The release counter of what is installed then."""
        return installation.install(self.settings, folder, central, today).manifest.release_counter

    @property
    def running(self) -> int:
        """The release that an agent would start with, opened as an agent does."""
        keys = [bytes.fromhex(key) for key in self.settings.trusted_keys]
        folder = self.settings.bundle.resolve()
        return open_bundle(folder, keys, 2).manifest.release_counter


@pytest.fixture(scope="module")
def program() -> bytes:
    return write_program(Doubling(), [torch.zeros(2, 3)])


@pytest.fixture
def maker(tmp_path: Path, program: bytes) -> Manufacturer:
    home = tmp_path / "manufacturer"
    home.mkdir()
    return Manufacturer(home, program)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(settings_of(tmp_path, FIRST, SECOND))


def settings_of(folder: Path, *trusted: SigningKey) -> EdgeSettings:
    keys = json.dumps([key.public.hex() for key in trusted])
    return load(written(folder, trusted_keys=keys, signature_threshold="2"))


def is_unchanged(hospital: Hospital, release: int) -> bool:
    """The old release still starts, and nothing half is left."""
    home = hospital.settings.bundle.parent
    return hospital.running == release and not list(home.rglob(".half-*"))


# As it should be -----------------------------------------------------------------------------


def test_releases_follow_one_another(hospital: Hospital, maker: Manufacturer) -> None:
    for counter in (1, 2, 5):
        assert hospital.install(maker.release(counter)) == counter
        assert hospital.running == counter

    assert installation.highest(hospital.settings.data_dir) == {"ChestTriage": 5}


def test_the_same_release_again_repairs_what_was_damaged(
    hospital: Hospital, maker: Manufacturer
) -> None:
    hospital.install(maker.release(3))
    kept = hospital.settings.bundle.resolve()
    (kept / "known_answers.npz").write_bytes(b"abd")
    with pytest.raises(BundleRefused):
        _ = hospital.running

    hospital.install(maker.released[3])

    assert is_unchanged(hospital, 3)


def test_only_what_the_manifest_names_is_copied(hospital: Hospital, maker: Manufacturer) -> None:
    folder = maker.release(1)
    (folder / "extra.sh").write_text("echo")

    hospital.install(folder)

    found = {path.name for path in hospital.settings.bundle.iterdir()}
    assert found == {MANIFEST, SIGNATURE, "known_answers.npz", "classifier.pt2"}


def test_a_release_installed_beside_a_running_one_does_not_touch_it(
    hospital: Hospital, maker: Manufacturer
) -> None:
    hospital.install(maker.release(1))
    keys = [bytes.fromhex(key) for key in hospital.settings.trusted_keys]
    running = open_bundle(hospital.settings.bundle.resolve(), keys, 2)

    hospital.install(maker.release(2, b"xyz"))

    running.rehash()
    assert running.read("known_answers.npz") == b"abc"


# Rollback, freeze, fast forward --------------------------------------------------------------


def test_rollback_to_an_older_release_is_refused(hospital: Hospital, maker: Manufacturer) -> None:
    hospital.install(maker.release(1))
    hospital.install(maker.release(2))

    with pytest.raises(BundleRefused, match="release 2 or later expected, got 1"):
        hospital.install(maker.released[1])

    assert is_unchanged(hospital, 2)


def test_rollback_is_refused_though_the_state_file_is_gone(
    hospital: Hospital, maker: Manufacturer
) -> None:
    """What is in place is as good a witness."""
    hospital.install(maker.release(2))
    (hospital.settings.data_dir / installation.STATE).unlink()

    with pytest.raises(BundleRefused, match="release 2 or later expected, got 1"):
        hospital.install(maker.release(1))


def test_rollback_is_refused_though_what_is_in_place_is_damaged_or_gone(
    hospital: Hospital, maker: Manufacturer
) -> None:
    hospital.install(maker.release(2))
    hospital.settings.bundle.unlink()

    with pytest.raises(BundleRefused, match="release 2 or later expected, got 1"):
        hospital.install(maker.release(1))


def test_rollback_after_the_edge_was_set_up_anew_is_refused_by_what_the_centre_knows(
    hospital: Hospital, maker: Manufacturer
) -> None:
    with pytest.raises(BundleRefused, match="release 4 or later expected, got 3"):
        hospital.install(maker.release(3), central=4)

    assert not hospital.settings.bundle.exists()


def test_an_expired_release_that_is_known_still_counts_against_rollback(
    hospital: Hospital, maker: Manufacturer
) -> None:
    """python-tuf 1498: metadata that expired was forgotten, and older ones were taken."""
    hospital.install(maker.release(3, install_until=date(2026, 3, 31)))

    with pytest.raises(BundleRefused, match="release 3 or later expected, got 2"):
        hospital.install(maker.release(2), today=date(2029, 1, 1))


def test_a_very_high_counter_keeps_lower_ones_out(hospital: Hospital, maker: Manufacturer) -> None:
    """There is no recovery from fast forward here: whoever can sign it can sign anything, so the
    keys are replaced and the state is reset by hand."""
    hospital.install(maker.release(2**40))

    with pytest.raises(BundleRefused, match=r"or later expected, got 7"):
        hospital.install(maker.release(7))


def test_an_older_release_put_in_place_by_hand_never_runs(
    hospital: Hospital, maker: Manufacturer
) -> None:
    manifest = open_bundle(maker.release(1), [FIRST.public], 1).manifest
    hospital.install(maker.release(2))

    known = installation.highest(hospital.settings.data_dir)
    with pytest.raises(BundleRefused, match="release 2 or later expected, got 1"):
        installation.refuse_older(manifest, known[manifest.device])


def test_what_has_run_counts_though_nobody_installed_it(
    hospital: Hospital, maker: Manufacturer
) -> None:
    manifest = open_bundle(maker.release(6), [FIRST.public], 1).manifest

    installation.remember(hospital.settings.data_dir, manifest)

    with pytest.raises(BundleRefused, match="release 6 or later expected, got 5"):
        hospital.install(maker.release(5))


def test_expiry_blocks_installing_and_never_running(
    hospital: Hospital, maker: Manufacturer
) -> None:
    hospital.install(maker.release(1))
    late = maker.release(2, install_until=date(2026, 3, 9))

    with pytest.raises(BundleRefused, match=r"until 2026-03-09, today is 2026-03-10; what runs"):
        hospital.install(late)
    assert is_unchanged(hospital, 1)

    hospital.install(late, today=date(2026, 3, 9))
    assert hospital.running == 2  # years later, too: opening asks for no day


# Mix and match, arbitrary software -----------------------------------------------------------


def test_files_of_two_releases_do_not_mix(hospital: Hospital, maker: Manufacturer) -> None:
    hospital.install(maker.release(1))
    mixed = maker.release(3, b"new")
    shutil.copy(maker.release(2, b"old") / "known_answers.npz", mixed)

    with pytest.raises(BundleRefused, match=r"known_answers\.npz: not the file"):
        hospital.install(mixed)

    assert is_unchanged(hospital, 1)


def test_signatures_of_another_release_do_not_count(
    hospital: Hospital, maker: Manufacturer
) -> None:
    mixed = maker.release(2, b"new")
    shutil.copy(maker.release(1) / SIGNATURE, mixed)

    with pytest.raises(BundleRefused, match=r"manifest\.json is not what was signed"):
        hospital.install(mixed)


def test_two_bundles_cannot_be_the_same_release(hospital: Hospital, maker: Manufacturer) -> None:
    hospital.install(maker.release(2))

    with pytest.raises(BundleRefused, match="another bundle was installed as release 2"):
        hospital.install(maker.release(2, b"xyz"))

    assert is_unchanged(hospital, 2)


def test_a_release_of_another_device_is_not_a_successor(
    hospital: Hospital, maker: Manufacturer
) -> None:
    hospital.install(maker.release(1))

    with pytest.raises(BundleRefused, match="release of ChestTriage expected, got HeadTriage"):
        hospital.install(maker.release(2, device="HeadTriage"))


def test_a_release_that_names_what_nothing_measures_is_not_installed(
    hospital: Hospital, maker: Manufacturer
) -> None:
    """Built and signed by tools that did not look."""
    hospital.install(maker.release(1))
    folder = maker.release(2)
    content = json.loads((folder / MANIFEST).read_bytes())
    content["schema"]["numeric"][0]["unit"] = "mm"
    (folder / MANIFEST).write_bytes(canonical(content))
    (folder / SIGNATURE).write_bytes(seal(PAYLOAD_TYPE, content, [FIRST, SECOND]))

    with pytest.raises(BundleRefused, match="noise: the unit 1 expected, got mm"):
        hospital.install(folder)
    name, trouble = next(checks(hospital.settings.model_copy(update={"bundle": folder})))

    assert is_unchanged(hospital, 1)
    assert name == "bundle signed and whole"
    assert trouble == "noise: the unit 1 expected, got mm"


def signed_by(*keys: SigningKey) -> Sequence[SigningKey]:
    return keys


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (signed_by(FIRST), 1),  # a threshold of one
        (signed_by(FIRST, FIRST), 1),  # one person twice
        (signed_by(FIRST, FORMER), 1),  # a removed key
        (signed_by(FORMER, SigningKey.generate()), 0),
    ],
)
def test_fewer_than_two_trusted_people_cannot_release(
    hospital: Hospital, maker: Manufacturer, keys: Sequence[SigningKey], found: int
) -> None:
    hospital.install(maker.release(1))
    maker.keys = keys

    with pytest.raises(SignatureRefused, match=f"2 trusted signatures expected, got {found}"):
        hospital.install(maker.release(2))

    assert is_unchanged(hospital, 1)


def test_a_key_that_is_removed_after_a_release_keeps_its_successors_out(
    tmp_path: Path, maker: Manufacturer
) -> None:
    """And the release that it signed is no longer opened: a stolen key ends at once."""
    maker.keys = (FIRST, FORMER)
    Hospital(settings_of(tmp_path, FIRST, FORMER)).install(maker.release(1))
    now = Hospital(settings_of(tmp_path, FIRST, SECOND))

    with pytest.raises(SignatureRefused):
        now.install(maker.release(2))
    with pytest.raises(SignatureRefused):
        _ = now.running

    maker.keys = (FIRST, SECOND)
    assert now.install(maker.release(3)) == now.running == 3


# Bytes and places ----------------------------------------------------------------------------


def test_endless_data_is_cut_at_what_the_manifest_says(
    hospital: Hospital, maker: Manufacturer
) -> None:
    folder = maker.release(1)
    with (folder / "known_answers.npz").open("r+b") as file:
        file.truncate(10 << 30)

    with pytest.raises(BundleRefused, match="at most 3 bytes expected"):
        hospital.install(folder)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_anything_but_a_file_is_refused(hospital: Hospital, maker: Manufacturer, kind: str) -> None:
    path = maker.release(1) / "known_answers.npz"
    path.unlink()
    {"link": lambda: path.symlink_to("/etc/passwd"), "pipe": lambda: os.mkfifo(path),
     "folder": path.mkdir}[kind]()  # fmt: skip

    with pytest.raises(BundleRefused, match=r"known_answers\.npz: a regular file expected"):
        hospital.install(maker.released[1])

    assert not hospital.settings.bundle.exists()


def test_a_folder_that_somebody_put_in_place_is_not_replaced(
    hospital: Hospital, maker: Manufacturer
) -> None:
    shutil.copytree(maker.release(1), hospital.settings.bundle)

    with pytest.raises(BundleRefused, match="a link or nothing expected, got a folder"):
        hospital.install(maker.release(2))

    assert hospital.running == 1


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ChestTriage": 1}', '{"a": {"release": "x"}}'])
def test_a_state_file_that_was_tampered_with_is_not_taken_for_none(
    hospital: Hospital, maker: Manufacturer, text: str
) -> None:
    hospital.settings.data_dir.mkdir(parents=True)
    (hospital.settings.data_dir / installation.STATE).write_text(text)

    with pytest.raises(BundleRefused, match=r"installed\.json"):
        hospital.install(maker.release(1))


# Power cuts ----------------------------------------------------------------------------------


class PowerCut(OSError):
    """The disk is full, or the machine goes off."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fail the n-th durable step from now on; `[0]` is n, counted down."""
    left = [10**6]

    def failing(step: str, module: object) -> None:
        real = getattr(module, step)

        def one(*args: object, **more: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut(28, "No space left on device")
            return real(*args, **more)

        monkeypatch.setattr(module, step, one)

    failing("fsync", os)
    failing("replace", Path)
    failing("symlink_to", Path)
    return left


def test_a_power_cut_at_any_step_leaves_the_old_release_or_the_new_one(
    tmp_path: Path, maker: Manufacturer, cut: list[int]
) -> None:
    offered, seen = maker.release(2, b"xyz"), []
    for steps in range(100):
        home = tmp_path / f"cut-{steps}"
        home.mkdir()
        hospital = Hospital(settings_of(home, FIRST, SECOND))
        hospital.install(maker.released.get(1) or maker.release(1))
        cut[0] = steps
        try:
            hospital.install(offered)
            break
        except PowerCut:
            cut[0] = 10**6
            seen.append(hospital.running)
        assert hospital.install(offered) == 2 and is_unchanged(hospital, 2)

    cut[0] = 10**6
    assert set(seen) == {1, 2} and sorted(seen) == seen
    with pytest.raises(BundleRefused, match="release 2 or later"):
        hospital.install(maker.released[1])


# Command line --------------------------------------------------------------------------------


def test_the_command_says_what_was_installed_and_heeds_the_centre(
    tmp_path: Path, hospital: Hospital, maker: Manufacturer
) -> None:
    from typer.testing import CliRunner

    config = ["--config", str(tmp_path / "edge.toml")]
    journal = Journal(hospital.settings.data_dir)
    try:
        journal.do(lambda db: set_meta(db, "release_counter", 2))
    finally:
        journal.close()

    early = CliRunner().invoke(command_line, ["install", str(maker.release(1)), *config])
    done = CliRunner().invoke(command_line, ["install", str(maker.release(2)), *config])

    assert isinstance(early.exception, AppError)
    assert "release 2 or later expected, got 1" in str(early.exception)
    assert done.exit_code == 0, done.output
    assert "Installed ChestTriage 1.2.0, release 2." in done.output
    assert "Restart the agent" in done.output
