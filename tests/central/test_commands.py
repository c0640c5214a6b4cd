"""The command line of the service, as programs of their own."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.contracts.manifest import PAYLOAD_TYPE
from app.contracts.signing import seal
from tests.contracts.examples import a_manifest
from tests.support.fleet import MANUFACTURER

# What `app/cli.py` does, without the other parts.
PROGRAM = """
import sys
from app.central import commands
from app.errors import AppError
from tests.support.rendering import RENDERERS
commands.renderers = lambda settings: RENDERERS
part = commands.audit if sys.argv[1] == "audit" else commands.central
if sys.argv[1] == "audit":
    del sys.argv[1]
try:
    part()
except AppError as error:
    sys.exit(f"{error.title}: {error}")
"""


@dataclass
class Installation:
    folder: Path
    port: int

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=self.folder,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/sbin:/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, expected: int = 0) -> str:
        done = self.start(*arguments)
        out, error = done.communicate(timeout=120)
        assert done.returncode == expected, out + error
        return out.strip() + (error if expected else "")

    def get(self, path: str) -> dict[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            found: dict[str, object] = json.load(answer)
        return found


@pytest.fixture
def installation() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="lw-central-"))
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "central.toml").write_text(
        f'data_dir = "data"\nport = {port}\nbase_url = "http://127.0.0.1:{port}"\n'
        f'trusted_keys = ["{MANUFACTURER.public.hex()}"]\nsecure_cookies = false\n'
    )
    yield Installation(folder, port)
    shutil.rmtree(folder)


def test_an_installation_is_set_up_served_looked_after_and_stopped(
    installation: Installation,
) -> None:
    manifest = a_manifest()
    content = json.loads(manifest.canonical)
    (installation.folder / "manifest.sig").write_bytes(seal(PAYLOAD_TYPE, content, [MANUFACTURER]))

    assert installation.run("init").startswith("receipt key ")
    server = installation.start("serve", "--with-worker")
    try:
        _wait_until_settled(installation, server)
        # While it serves, other commands join its database.
        lock_digest = installation.run("device", "register", "manifest.sig")
        installation.run("site", "add", "H01", "Hospital One")
        code = installation.run("enrol", "H01", lock_digest)
        password = installation.run("user", "add", "ann", "analyst")
        refused = installation.run("site", "add", "H01", "Again", expected=1)
        report = installation.run("doctor")
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)

    assert lock_digest == manifest.lock_digest
    assert len(code) == 32
    assert len(password) >= 12
    assert "site H01 exists" in refused
    assert "BAD" not in report
    assert server.returncode == 0
    log = (installation.folder / "data" / "postgres" / "log").read_text()
    assert "database system is shut down" in log.splitlines()[-1]

    trail = installation.folder / "trail.jsonl"
    installation.run("audit", "export", "trail.jsonl")
    assert "unaltered" in installation.run("audit", "verify", "trail.jsonl")
    trail.write_text(trail.read_text().replace("H01", "H09", 1))
    assert "NOT INTACT" in installation.run("audit", "verify", "trail.jsonl", expected=1)


def _wait_until_settled(installation: Installation, server: subprocess.Popen[str]) -> None:
    """Until a round of the worker has passed an instant fixed at the first answer.

    Asked about the instant of each question, it is settled only if a round falls between the
    two requests: a matter of luck.
    """
    asked_for = ""
    for _ in range(600):
        assert server.poll() is None, server.communicate()
        try:
            asked_for = asked_for or str(installation.get("/health")["now"]).replace("+", "%2B")
            if installation.get(f"/api/v1/jobs/settled?upto={asked_for}")["settled"]:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the service never settled")


def test_settings_that_do_not_exist_are_refused(installation: Installation) -> None:
    (installation.folder / "central.toml").write_text('data_dri = "data"')

    said = installation.run("doctor", expected=1)

    assert "data_dri" in said
    assert "Extra inputs are not permitted" in said
