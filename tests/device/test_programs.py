"""Stage programs: what the exporter writes loads; anything else torch never sees."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.device.archive import ProgramRefused, inspect_program
from app.device.programs import load_program, write_program
from tests.device.conftest import Doubling

Edit = Callable[[dict[str, bytes]], None]


def rezipped(program: bytes, edit: Edit, compression: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def edited_json(member: str, edit: Callable[[dict[str, object]], None]) -> Edit:
    def change(members: dict[str, bytes]) -> None:
        content = json.loads(members[member])
        edit(content)
        members[member] = json.dumps(content).encode()

    return change


def add(name: str, data: bytes = b"x") -> Edit:
    return lambda members: members.__setitem__(name, data)


def test_a_program_runs_on_any_batch_and_gives_a_tuple(program: bytes) -> None:
    run = load_program("double.pt2", program)

    for batch in (1, 2, 17):
        (doubled,) = run(torch.ones(batch, 3))
        assert torch.equal(doubled, torch.full((batch, 3), 2.0))


def test_the_same_module_gives_the_same_bytes_and_no_path_of_this_machine(program: bytes) -> None:
    again = write_program(Doubling(), [torch.zeros(2, 3)])

    assert again == program
    assert str(Path(__file__).resolve().parents[2]).encode() not in program
    assert b"site-packages" not in program


def test_an_untouched_program_passes_when_zipped_again(program: bytes) -> None:
    inspect_program("p.pt2", rezipped(program, lambda members: None))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (add("archive/data/sample_inputs/model.pt"), "pickled example inputs are not allowed"),
        (add("archive/data.pkl"), r"member 'archive/data\.pkl' is not allowed"),
        (add("archive/code/__torch__.py"), "is not allowed"),
        (add("archive/constants.pkl"), "is not allowed"),
        (add("../outside.json", b"{}"), "is not allowed"),
        (add("/etc/passwd"), "is not allowed"),
        (add("archive/data/weights/../../weight_1"), "is not allowed"),
        (add("archive/data/aotinductor/model/model.so"), "is not allowed"),
        (add("archive/data/constants/custom_obj_0"), "is not allowed"),
        (add("archive/extra/info.json", b"{}"), "is not allowed"),
        (
            lambda members: members.pop("archive/models/model.json"),
            r"archive/models/model\.json expected, got none",
        ),
        (add("archive/models/model.json", b"{"), "a torch.export archive expected"),
        (add("archive/models/model.json", b"[" * 100_000), "a torch.export archive expected"),
        (add("archive/data/weights/model_weights_config.json", b"[]"), "a table of tensors"),
        (
            edited_json(
                "archive/data/weights/model_weights_config.json",
                lambda content: content["config"]["factor"].update(use_pickle=True),  # type: ignore[index]
            ),
            "pickled tensors are not allowed",
        ),
        (
            edited_json(
                "archive/models/model.json",
                lambda content: content["graph_module"]["graph"]["nodes"][0].update(  # type: ignore[index]
                    target="os.system"
                ),
            ),
            "operator 'os.system' is not allowed",
        ),
        (
            edited_json(
                "archive/models/model.json",
                lambda content: content["graph_module"]["graph"]["nodes"][0].update(  # type: ignore[index]
                    target="torch.ops.evil.run.default"
                ),
            ),
            "is not allowed",
        ),
    ],
)
def test_a_program_with_anything_more_is_refused(program: bytes, edit: Edit, message: str) -> None:
    with pytest.raises(ProgramRefused, match=message):
        load_program("p.pt2", rezipped(program, edit))


def test_a_member_that_stands_twice_is_refused(program: bytes) -> None:
    buffer = io.BytesIO(rezipped(program, lambda members: None))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/byteorder", b"little")

    with pytest.raises(ProgramRefused, match="stands twice"):
        inspect_program("p.pt2", buffer.getvalue())


def test_compressed_members_are_refused_before_they_are_inflated(program: bytes) -> None:
    squeezed = rezipped(program, lambda members: None, zipfile.ZIP_DEFLATED)

    with pytest.raises(ProgramRefused, match="got a compressed one"):
        inspect_program("p.pt2", squeezed)


def test_inputs_that_share_an_example_stay_two_inputs() -> None:
    class Difference(torch.nn.Module):
        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return one - other

    example = torch.zeros(2, 3)
    run = load_program("p.pt2", write_program(Difference(), [example, example]))

    assert run(torch.full((2, 3), 5.0), torch.ones(2, 3))[0].tolist() == [[4.0] * 3] * 2


def test_weights_that_would_fill_the_memory_are_refused(
    program: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.device.archive.PROGRAM_LIMIT", 1000)

    with pytest.raises(ProgramRefused, match="at most 1000 bytes expected"):
        inspect_program("p.pt2", program)


def test_what_the_exporter_writes_by_default_is_refused() -> None:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Doubling(), (torch.ones(2, 3),)), buffer)

    with pytest.raises(ProgramRefused, match="pickled example inputs"):
        inspect_program("default.pt2", buffer.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"\x80\x05K\x01.", bytes(1000)])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ProgramRefused, match=r"a torch\.export archive expected"):
        inspect_program("p.pt2", data)


def test_a_graph_that_torch_cannot_read_is_refused(program: bytes) -> None:
    hollow = edited_json("archive/models/model.json", lambda content: content.clear())

    with pytest.raises(ProgramRefused, match="does not load"):
        load_program("p.pt2", rezipped(program, hollow))
