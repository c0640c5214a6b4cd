"""What a deployment writes is what the parts read, and it clears nothing that is not its own."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest

from app.central.settings import read_settings
from app.lab.demo_central import Api, DemoCentral, colleagues
from app.lab.demo_deployment import deployed
from app.lab.demo_edges import free_ports
from app.lab.demo_processes import DemoFailed, environment
from app.lab.demo_scenario import SITES

KEY = bytes(range(32))


def test_the_service_reads_the_settings_that_are_written(tmp_path: Path) -> None:
    central = DemoCentral(tmp_path / "central", 8181)
    central.write_settings([KEY])

    settings = read_settings(central.settings_file, environment={})

    assert settings.base_url == central.url
    assert settings.manufacturer_keys == (KEY,)
    assert settings.transport == f"maildir:{central.mailbox}"
    assert settings.data_dir == central.folder / "data"


def test_mail_is_read_from_the_local_folder(tmp_path: Path) -> None:
    central = DemoCentral(tmp_path, 8181)
    assert central.subjects() == []

    mailbox.Maildir(central.mailbox).add(b"Subject: Scanner H01\r\n\r\nmoved")

    assert central.subjects() == ["Scanner H01"]


def test_passwords_are_made_anew_and_never_shown_by_accident() -> None:
    first, again = colleagues(), colleagues()

    roles = {p.role for p in first}
    assert roles == {"administrator", "analyst", "quality_approver", "regulatory"}
    assert all(a.password != b.password for a, b in zip(first, again, strict=True))
    assert first[0].password not in repr(first)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "run" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")

    with (
        pytest.raises(DemoFailed, match="was not made by a demonstration"),
        deployed(tmp_path, SITES),
    ):
        pass

    assert precious.read_text() == "years of work"


def test_two_demonstrations_never_share_a_folder(tmp_path: Path) -> None:
    with deployed(tmp_path, SITES) as parts:
        with (
            pytest.raises(DemoFailed, match="a demonstration is running in"),
            deployed(tmp_path, SITES),
        ):
            pass
        assert parts.run.is_dir()

    with deployed(tmp_path, SITES):
        pass


def test_the_next_demonstration_clears_what_the_last_one_left(tmp_path: Path) -> None:
    with deployed(tmp_path, SITES) as parts:
        (parts.run / "left-over").touch()

    with deployed(tmp_path, SITES, port=8123) as parts:
        assert not (parts.run / "left-over").exists()
        assert parts.central.port == 8123
        assert [edge.site for edge in parts.edges] == list(SITES)


def test_settings_of_another_installation_do_not_reach_the_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKWATCH_DATABASE_URL", "postgresql://production")
    monkeypatch.setenv("LANG", "C.UTF-8")

    inherited = environment(tmp_path / "clock")

    assert "LOCKWATCH_DATABASE_URL" not in inherited
    assert inherited["LANG"] == "C.UTF-8"
    assert inherited["LOCKWATCH_CLOCK"] == str(tmp_path / "clock")


def test_a_service_that_is_not_there_is_not_up() -> None:
    assert not Api(f"http://127.0.0.1:{free_ports(1)[0]}").is_up()
