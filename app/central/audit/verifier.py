"""Verify an exported audit trail without lockwatch: Python's standard library and this file.

    python verifier.py TRAIL.jsonl [--head HASH]

Every entry is hashed again from its content; roots alone prove nothing. A chain cannot show
that its end was cut off, so give `--head`: the hash that a receipt at a hospital, or a report,
carried away. Exit code 0: whole and unaltered; 1: the first bad line is named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

DOMAIN = "lockwatch/audit/v1"


def verify(lines: Iterable[bytes], head: str | None = None) -> str:
    """A sentence about an intact trail; raises ValueError naming the first bad line."""
    sequence, previous, passed = 0, "0" * 64, head is None
    checkpoint = None
    for number, line in enumerate(lines, start=1):
        entry = _parse(line, number)
        if checkpoint is not None:
            raise ValueError(f"line {number}: something follows the checkpoint")
        if "checkpoint" in entry:
            checkpoint = json.loads(entry["checkpoint"])
            continue
        sequence += 1
        previous = _check(entry, number, sequence, previous)
        passed = passed or previous == head
    if checkpoint is None:
        raise ValueError("the checkpoint at the end is missing: the trail was cut off")
    if (checkpoint["entries"], checkpoint["head"]) != (sequence, previous):
        raise ValueError(
            f"checkpoint: {checkpoint['entries']} entries expected, got {sequence} or another head"
        )
    if not passed:
        raise ValueError(f"no entry has the hash {head}: the trail is not the one that was seen")
    return f"{sequence} entries, unaltered, head {previous}"


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict):
            raise TypeError
    except (ValueError, TypeError):
        raise ValueError(f"line {number}: not a JSON object") from None
    return entry


def _check(entry: dict[str, Any], number: int, sequence: int, previous: str) -> str:
    try:
        body = entry["body"].encode()
        named = json.loads(body)["sequence"]
        found = hashlib.sha256(f"{DOMAIN}\n{entry['previous']}\n".encode() + body).hexdigest()
        said = entry["hash"], entry["previous"], entry["sequence"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"line {number}: not an audit entry") from None
    if found != said[0]:
        raise ValueError(f"line {number}: entry {named} was altered")
    if said[1] != previous:
        raise ValueError(f"line {number}: entry {named} does not follow the one before it")
    if (named, said[2]) != (sequence, sequence):
        raise ValueError(f"line {number}: entry {sequence} expected, got {named}")
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Verify an exported lockwatch audit trail.")
    parser.add_argument("trail")
    parser.add_argument("--head", help="a hash that the trail must contain")
    given = parser.parse_args()
    try:
        with open(given.trail, "rb") as file:  # noqa: PTH123 - stands alone
            sys.stdout.write(verify(file, given.head) + "\n")
    except ValueError as error:
        sys.stdout.write(f"NOT INTACT: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
