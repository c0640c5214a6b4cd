"""What `lockwatch central doctor` says of the identity provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from app.central.accounts.models import Role
from app.central.doctor import Finding, examine
from tests.conftest import Clock
from tests.dashboards.test_provider_sign_in import a_world
from tests.support.identity_provider import FakeProvider


def findings(world_folder: Path, engine: Engine, provider: FakeProvider) -> dict[str, Finding]:
    world = a_world(world_folder, engine, provider, break_glass="ada")
    world.add_person("ada", Role.ADMINISTRATOR)
    return {f.what: f for f in examine(world.settings, engine)}


@pytest.fixture
def provider(simulated_clock: Clock) -> FakeProvider:
    return FakeProvider()


def test_a_provider_that_answers_is_fine(
    tmp_path: Path, fresh_database: Engine, provider: FakeProvider
) -> None:
    with provider:
        found = findings(tmp_path, fresh_database, provider)

    assert found["identity provider"].is_fine and found["break-glass account"].is_fine
    assert "1 keys; register http://testserver/sign-in/provider/return" in (
        found["identity provider"].detail
    )


def test_what_stands_in_the_way_is_named(
    tmp_path: Path, fresh_database: Engine, provider: FakeProvider
) -> None:
    with provider:
        world = a_world(tmp_path, fresh_database, provider, break_glass="ada")
        world.add_person("ada", Role.ANALYST)

        def said() -> str:
            found = {f.what: f for f in examine(world.settings, fresh_database)}
            assert not found["identity provider"].is_fine
            assert "expected an administrator" in found["break-glass account"].detail
            return found["identity provider"].detail

        provider.changes = {"issuer": "https://other.example"}
        other = said()
        (tmp_path / "secret").unlink()
        unread = said()
    (tmp_path / "secret").write_text("x")
    down = said()

    assert "got https://other.example" in other
    assert "oidc_client_secret_file cannot be read" in unread
    assert "does not answer (ConnectError)" in down
