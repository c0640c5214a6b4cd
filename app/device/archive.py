"""What a stage program may be: a `torch.export` archive of plain tensors and a graph.

A default archive pickles its example inputs, and its loader then falls back to unsafe loading.
An archive is inspected before torch sees it: only members whose names the exporter writes, none
compressed, none twice, no pickle, no TorchScript, only ATen operators.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.errors import AppError

PROGRAM_LIMIT = 256 << 20  # bytes of a program with all its weights
_MEMBERS = re.compile(
    r"archive/(data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)
_OPERATORS = re.compile(r"(torch\.ops\.aten\.[\w.]+|_operator\.\w+)")
_REQUIRED = ("archive/models/model.json", "archive/data/weights/model_weights_config.json")


class ProgramRefused(AppError):
    """A stage program that torch never gets to see."""

    status = 422
    title = "Program refused"
    reason = "program"


def inspect_program(name: str, data: bytes) -> None:
    """Raise `ProgramRefused` unless the archive holds tensors and a graph, and nothing else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(name, archive.infolist())
            for member in archive.namelist():
                if member.endswith(".json"):
                    _check_json(name, member, json.loads(archive.read(member)))
    except (zipfile.BadZipFile, ValueError, RecursionError, EOFError) as error:
        raise _refused(name, f"a torch.export archive expected: {type(error).__name__}") from error


def _check_members(name: str, members: Sequence[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise _refused(name, "a member stands twice")
    for member in members:
        if not _MEMBERS.fullmatch(member.filename):
            raise _refused(name, f"member {member.filename[:64]!r} is not allowed")
        if member.compress_type != zipfile.ZIP_STORED:
            raise _refused(name, "stored members expected, got a compressed one")
        if member.filename.endswith("model.pt") and member.file_size:
            raise _refused(name, "pickled example inputs are not allowed")
    if sum(member.file_size for member in members) > PROGRAM_LIMIT:
        raise _refused(name, f"at most {PROGRAM_LIMIT} bytes expected")
    missing = [member for member in _REQUIRED if member not in names]
    if missing:
        raise _refused(name, f"member {missing[0]} expected, got none")


def _check_json(name: str, member: str, content: Any) -> None:
    if member.endswith("_config.json"):
        _check_config(name, content)
        return
    for operator in _operators(content):
        if not _OPERATORS.fullmatch(operator):
            raise _refused(name, f"operator {operator[:64]!r} is not allowed")


def _check_config(name: str, content: Any) -> None:
    entries = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping):
        raise _refused(name, "a table of tensors expected")
    for entry in entries.values():
        if not isinstance(entry, Mapping) or entry.get("use_pickle") is not False:
            raise _refused(name, "pickled tensors are not allowed")


def _operators(content: Any) -> Iterator[str]:
    """Every operator that a node of the graph calls, nodes of nested graphs included."""
    if isinstance(content, Mapping):
        if isinstance(content.get("target"), str) and "inputs" in content:
            yield content["target"]
        for value in content.values():
            yield from _operators(value)
    elif isinstance(content, list):
        for value in content:
            yield from _operators(value)


def _refused(name: str, message: str) -> ProgramRefused:
    return ProgramRefused(f"{name}: {message}")
