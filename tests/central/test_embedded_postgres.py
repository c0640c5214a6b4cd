"""The supervisor: one server, ours alone, gone when we are."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.central import embedded_postgres
from app.central.embedded_postgres import DatabaseUnavailable, open_embedded

FAST = {"fsync": "off"}
IS_ROOT = os.geteuid() == 0
SUPERVISE = """
import sys, time
from pathlib import Path
from app.central.embedded_postgres import open_embedded
server = open_embedded(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.process_id, flush=True)
time.sleep(600)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lw pg "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A cluster, initialised once and stopped."""
    folder = Path(tempfile.mkdtemp(prefix="lw-made-"))
    folder.chmod(0o755)
    with open_embedded(folder / "pg", settings=FAST):
        pass
    yield folder / "pg"
    shutil.rmtree(folder)


@pytest.fixture
def home(place: Path, made: Path) -> Path:
    """A copy of it, with its owners."""
    subprocess.run(["cp", "-a", made, place / "pg"], check=True)
    return place / "pg"


def ask(socket: Path, query: str) -> object:
    with psycopg.connect(host=str(socket), dbname="lockwatch", user="lockwatch") as connection:
        row = connection.execute(query).fetchone()
    return row and row[0]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    for _ in range(1000):
        if not is_running(pid):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} still runs")


def test_a_database_is_made_started_stopped_and_found_again(home: Path) -> None:
    with open_embedded(home, settings=FAST) as server:
        with psycopg.connect(
            host=str(server.socket), dbname="lockwatch", user="lockwatch"
        ) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        pid = server.process_id
        assert pid is not None
        assert is_running(pid)
    assert not is_running(pid)

    with open_embedded(home, settings=FAST) as server:
        assert ask(server.socket, "SELECT n FROM kept") == 7
    log = (home / "log").read_text()
    assert "was not properly shut down" not in log


def test_a_second_opener_joins_and_leaves_the_server_alone(home: Path) -> None:
    with open_embedded(home, settings=FAST) as first:
        with open_embedded(home) as second:
            assert (first.owned, second.owned) == (True, False)
            assert ask(second.socket, "SELECT 1") == 1
        assert ask(first.socket, "SELECT 1") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_its_supervisor_however_that_ends(
    home: Path, how: signal.Signals
) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, home], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())

    supervisor.send_signal(how)
    supervisor.wait()
    supervisor.stdout.close()

    wait_until_gone(pid)
    with open_embedded(home, settings=FAST) as server:
        assert ask(server.socket, "SELECT 1") == 1
    assert "was not properly shut down" not in (home / "log").read_text()


@pytest.mark.parametrize("content", ["{living}\n/elsewhere\n", "", "not a number\n"])
def test_a_stale_pid_file_hurts_nobody(home: Path, content: str) -> None:
    with open_embedded(home, settings=FAST):
        pass
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    stale = home / "data" / "postmaster.pid"
    stale.write_text(content.format(living=bystander.pid))

    with open_embedded(home, settings=FAST) as server:
        assert ask(server.socket, "SELECT 1") == 1

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_first_start_that_was_cut_off_is_begun_again(place: Path) -> None:
    (place / "pg" / "data").mkdir(parents=True)
    (place / "pg" / "data" / "half").write_text("initdb was killed")

    with open_embedded(place / "pg", settings=FAST) as server:
        assert ask(server.socket, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["long" * 30, "a, b"])
def test_a_path_that_no_socket_address_can_hold_works(place: Path, name: str) -> None:
    home = place / name / "pg"
    home.parent.mkdir()

    with open_embedded(home, settings=FAST) as server:
        assert len(os.fsencode(server.socket)) < 90
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert ask(server.socket, "SELECT 1") == 1
    server.socket.rmdir()


def test_a_socket_folder_of_somebody_else_is_not_used(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(place))
    home = place / ("long" * 20) / "pg"
    home.mkdir(parents=True)
    monkeypatch.setattr(embedded_postgres, "LONGEST_SOCKET", 10)
    with open_embedded(home, settings=FAST) as server:
        squatted = server.socket
    squatted.chmod(0o777)

    with pytest.raises(DatabaseUnavailable, match="must be a closed directory"):
        open_embedded(home, settings=FAST)


def test_nobody_else_may_connect(home: Path) -> None:
    with open_embedded(home, settings=FAST) as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        rules = (home / "data" / "pg_hba.conf").read_text()
        assert rules == "local all lockwatch peer map=supervisor\n"
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(host=str(server.socket), dbname="postgres", user="postgres")


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="shared_buffers"):
        open_embedded(home, settings={"shared_buffers": "nonsense"})


def test_a_lock_held_by_somebody_without_a_server_is_reported(home: Path) -> None:
    with open_embedded(home, settings=FAST):
        pass
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX);"
            "print(1, flush=True); time.sleep(600)",
            home / "lock",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()

    with pytest.raises(DatabaseUnavailable, match="locked by a process"):
        open_embedded(home, wait_s=0.2)

    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_a_cluster_of_a_version_that_is_not_installed_is_left_alone(place: Path) -> None:
    data = place / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")

    with pytest.raises(DatabaseUnavailable, match="made with PostgreSQL 9"):
        open_embedded(place / "pg")


def test_root_keeps_the_cluster_where_the_servers_account_may_go(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only root drops to another account; anybody else enters their own closed directory.
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(
        embedded_postgres, "_programs", _behind(closed, embedded_postgres._programs)
    )

    with open_embedded(closed / "pg", settings=FAST, shelter=place / "shelter") as server:
        assert ask(server.socket, "SELECT 1") == 1
        assert (closed / "pg").is_symlink() is IS_ROOT
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with open_embedded(closed / "pg", settings=FAST, shelter=place / "shelter") as server:
        assert ask(server.socket, "SELECT 1") == 1


def _behind(closed: Path, programs):  # type: ignore[no-untyped-def]
    """The same programs, installed in a directory that only its owner may enter."""

    def find(data: Path) -> Path:
        source = programs(data)
        package = closed / source.parents[1].name
        if not package.exists():
            shutil.copytree(source.parent, package / source.parent.name, symlinks=True)
            libraries = source.parents[1].with_name(f"{source.parents[1].name}.libs")
            shutil.copytree(libraries, closed / libraries.name, symlinks=True)
        return package / source.parent.name / "bin"

    return find
