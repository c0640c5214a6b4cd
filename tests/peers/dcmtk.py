"""dcmtk's programs, started as a hospital's machines would be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What storescu must be told to propose, by transfer syntax.
_PROPOSE = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.57": "-xs",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}


def program(name: str) -> str:
    """The program's path; the test is skipped, saying so, where it is not installed.

    pynetdicom puts programs of the same names beside Python.
    """
    ours = Path(sys.executable).parent
    elsewhere = [f for f in os.environ["PATH"].split(os.pathsep) if Path(f) != ours]
    found = shutil.which(name, path=os.pathsep.join(elsewhere))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def store(path: Path, port: int, syntax: str = "") -> str:
    """Send one file with storescu; the status in its words, or "" if it would not send it."""
    proposed = filter(None, [_PROPOSE.get(syntax)])
    where = ("-aet", "STORESCU", "-aec", "EDGE", "127.0.0.1", str(port), str(path))
    said = run("storescu", "-v", "-R", *proposed, *where)
    answers = [line for line in said.splitlines() if "Received Store Response" in line]
    return answers[-1].partition("(")[2].rstrip(")") if answers else ""


def run(name: str, *arguments: str, within_s: float = 60) -> str:
    """Run a program to its end; what it said."""
    done = subprocess.run(
        [program(name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=within_s,
        env=environment(),
    )
    return done.stdout


def environment() -> dict[str, str]:
    """Without Nagle's delay: 44 ms an object otherwise."""
    return os.environ | {"TCP_NODELAY": "1"}
