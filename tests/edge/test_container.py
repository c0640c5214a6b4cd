"""The containers of `compose.yaml`, as far as they can be tried without Docker.

What the file says is held against the tree; and the agent runs as it would there: not as root,
without a capability, nothing writable but its own folders.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.edge.template import TEMPLATE
from tests.edge.peer_centre import PeerCentre
from tests.edge.running_edge import START, RunningEdge, closes
from tests.edge.sender import a_chest, send
from tests.support.chest_bundle import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if "build" in one}
DOCKERFILE = str(SERVICES["edge"]["build"]["dockerfile_inline"])
STEPS = [line.strip() for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines() if line.strip()]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOBODY = 65534


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights(name: str) -> None:
    one = OURS[name]

    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"] and "cap_add" not in one and "privileged" not in one
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert not any("docker.sock" in volume for volume in one.get("volumes", []))


def test_the_image_ends_as_a_user_who_owns_what_is_mounted() -> None:
    words = [step.split(maxsplit=1) for step in STEPS]
    [user] = [rest for word, rest in words if word == "USER"]
    after = [word for word, _ in words[[w for w, _ in words].index("USER") + 1 :]]
    [made] = re.findall(r"install --directory --owner=(\w+) \S+ --mode=0700 (\S+)", DOCKERFILE)

    assert user != "root" and f"useradd --create-home {user}" in DOCKERFILE
    assert "RUN" not in after and "COPY" not in after
    assert made == (user, "/var/lib/lockwatch")
    named = [v.split(":")[1] for one in OURS.values() for v in one["volumes"] if v[0] not in "./"]
    assert set(named) == {made[1]}


def test_the_image_is_of_the_python_that_is_tested_and_of_extras_that_are_there() -> None:
    (version,) = re.findall(r"^FROM python:([\d.]+)-slim$", DOCKERFILE, re.MULTILINE)
    extras = {one["build"]["args"]["EXTRAS"] for one in OURS.values()}

    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert extras <= set(PROJECT["optional-dependencies"])
    copied = [shlex.split(step)[1] for step in STEPS if step.startswith("COPY")]
    asked = re.findall(r"-c (\S+)", DOCKERFILE)
    assert copied == ["."] and all((ROOT / name).is_file() for name in asked)


def test_no_secret_and_no_history_is_copied_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    ignored = [line for line in lines if line and not line.startswith("#")]
    used = {Path(one["file"]).parts[0] for one in COMPOSE["secrets"].values()}
    used |= {Path(v).parts[0] for o in OURS.values() for v in o["volumes"] if v.startswith("./")}

    assert used == {"secrets"}
    assert {*used, ".git", ".venv"} <= set(ignored)
    assert not {"app", "monitors", "dashboards", "migrations", "README.md"} & set(ignored)


def test_what_a_file_names_is_declared() -> None:
    for one in SERVICES.values():
        kept = [v.split(":")[0] for v in one.get("volumes", []) if not v.startswith("./")]
        assert set(kept) <= set(COMPOSE["volumes"])
        assert set(one.get("secrets", [])) <= set(COMPOSE["secrets"])
        assert set(one.get("depends_on", {})) <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_commands_are_ours(name: str) -> None:
    words = [word for word in OURS[name]["command"] if not word.startswith("/")]
    program = [sys.executable, "-m", "app.cli", *(w for w in words if not w.startswith("--"))]
    done = subprocess.run([*program, "--help"], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0
    assert all(w in done.stdout for w in words if w.startswith("--"))


def test_the_settings_of_the_container_fit_the_template() -> None:
    """The published port is the template's, and what is written lies in the volume."""
    assert tomllib.loads(TEMPLATE)["port"] == 11112
    assert SERVICES["edge"]["ports"] == ["127.0.0.1:11112:11112"]


@pytest.fixture
def open_place(bundle: Path) -> Iterator[Path]:
    """A folder that nobody's account may enter, unlike pytest's own, with the bundle in it."""
    folder = Path(tempfile.mkdtemp(prefix="lw-container-", dir="/var/tmp"))
    folder.chmod(0o755)
    shutil.copytree(bundle, folder / "bundle")
    for path in [folder / "bundle", *(folder / "bundle").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield folder
    shutil.rmtree(folder)


class Contained(RunningEdge):
    """The agent as the container has it, by the kernel's own means."""

    def _launch(self) -> None:
        self.folder.chmod(0o755)
        own = [self.folder / name for name in ("data", "results", "labels")]
        for path in own:
            shutil.chown(path, NOBODY, NOBODY)
        lines = [
            *reachable(self.folder / "hold", [Path(sys.base_prefix), Path(sys.prefix), ROOT]),
            *(f"mount --bind {path} {path}" for path in own),
            "mount -o remount,bind,ro /",
            "mount -t tmpfs tmpfs /tmp",
            f"cd {ROOT}",
            f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs"
            " --bounding-set=-all --inh-caps=-all"
            f" env LOCKWATCH_CLOCK={self.folder / 'clock'} OMP_NUM_THREADS=1 HOME=/nonexistent"
            f" {sys.executable} -m app.cli edge run --config {self._settings}",
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", "\n".join(lines)], stdout=log, stderr=log
            )


def reachable(hold: Path, trees: list[Path]) -> Iterator[str]:
    """Commands that let nobody's account reach these trees, below whatever closed folder."""
    closed = {
        above
        for tree in trees
        for above in tree.resolve().parents
        if not above.stat().st_mode & 0o001
    }
    tops = [path for path in closed if not closed & set(path.parents)]
    inside = [tree.resolve() for tree in trees if closed & set(tree.resolve().parents)]
    for n, tree in enumerate(inside):
        (hold / str(n)).mkdir(parents=True, exist_ok=True)
        yield f"mount --bind {tree} {hold / str(n)}"
    for top in tops:
        yield f"mount -t tmpfs -o mode=755 tmpfs {top}"
    for n, tree in enumerate(inside):
        yield f"mkdir -p {tree} && mount --bind {hold / str(n)} {tree}"


def health(edge: RunningEdge) -> int:
    """The exit code of the edge's own health check, as compose.yaml calls it."""
    _, program, *words = SERVICES["edge"]["healthcheck"]["test"]
    assert (program, words[-1]) == ("lockwatch", "/etc/lockwatch/edge.toml")
    command = [sys.executable, "-m", "app.cli", *words[:-1], str(edge.folder / "edge.toml")]
    environment = {"LOCKWATCH_CLOCK": str(edge.folder / "clock"), "PATH": "/usr/bin"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode


def test_the_agent_runs_without_root_on_a_read_only_system_and_says_how_it_is(
    open_place: Path, centre: PeerCentre
) -> None:
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True)
    if tried.returncode:
        pytest.skip("no name space of its own can be had here (needs root)")
    edge = Contained(open_place, open_place / "bundle", centre)
    try:
        edge.start()
        edge.ready()
        assert edge.process is not None
        status = Path(f"/proc/{edge.process.pid}/status").read_text()
        mounts = Path(f"/proc/{edge.process.pid}/mounts").read_text().splitlines()
        send(edge.port, *(a_chest(seed, START.replace(tzinfo=None)) for seed in range(3)))
        balance = edge.settled(3)
        edge.until(lambda s: not s["results"]["folder"].get("queued"))
        edge.live(days=2)
        at_work = health(edge)
        edge.kill()
        dead = health(edge)
        edge.start()
        edge.ready()
        edge.process.send_signal(19)  # SIGSTOP: it is there, and does nothing
        edge.at(edge.now + timedelta(hours=1))
        hanging = health(edge)
    finally:
        edge.kill()

    assert re.search(rf"^Uid:\s+{NOBODY}\s", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    [root] = [line for line in mounts if line.split()[1] == "/"][-1:]
    assert root.split()[3].split(",")[0] == "ro"
    assert closes(balance) and balance["failed"] == 0
    assert (at_work, dead, hanging) == (0, 1, 1)
