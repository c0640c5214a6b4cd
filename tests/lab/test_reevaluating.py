"""The locked chain on freshly labelled files: real files, the small real chain, real signatures."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.contracts.exchange import parse
from app.contracts.holdout import HOLDOUT_TYPE, HoldoutRecord
from app.contracts.signing import SigningKey, open_sealed
from app.device.bundle import open_bundle
from app.device.chain import Chain
from app.errors import AppError, ContractError
from app.lab.commands import lab
from app.lab.reevaluating import read_holdout, reevaluate
from tests.edge.sender import a_chest
from tests.support.chest_bundle import KEY, chest_bundle

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
CASES = 60
POSITIVE = CASES // 3
Relabel = Callable[[int, bool], Mapping[str, object]]


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain.load(open_bundle(chest_bundle(), [KEY.public], 1))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third image is positive; two scanner models."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(CASES):
        vendor = ("philips", "siemens")[i % 2]
        dataset = a_chest(100 + i, vendor=vendor, positive=i % 3 == 0)
        dataset.save_as(folder / f"{i}.dcm", enforce_file_format=True)
    return folder


def as_made(_: int, positive: bool) -> Mapping[str, object]:
    return {"label": int(positive)}


def holdout(images: Path, tmp_path: Path, relabel: Relabel = as_made) -> Path:
    folder = tmp_path / "2026-06"
    folder.mkdir()
    for path in images.glob("*.dcm"):
        shutil.copy(path, folder)
    rows = [{"file": f"{i}.dcm", **relabel(i, i % 3 == 0)} for i in range(CASES)]
    write(folder, rows)
    return folder


def write(folder: Path, rows: list[dict[str, object]]) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_chain_is_held_against_the_cleared_table(
    chain: Chain, images: Path, tmp_path: Path
) -> None:
    record = reevaluate(chain, holdout(images, tmp_path), AT)

    whole = record.rows[0]
    assert sum(record.outcomes.values()) == record.cases == CASES
    assert (whole.margin, whole.level, whole.positives) == ("all", "all", POSITIVE)
    assert whole.sensitivity is not None
    assert whole.sensitivity.cleared == chain.manifest.validation.subgroups[0].sensitivity
    assert {row.margin for row in record.rows} >= {"all", "age_band", "sex"}
    by_sex = [row.cases for row in record.rows if row.margin == "sex"]
    assert sum(by_sex) == whole.cases
    classes = {s.scanner_class for s in record.scores}
    assert len(classes) == 3  # all, and two scanner models
    assert sum(sum(s.counts) for s in record.scores if s.scanner_class == "") == whole.cases
    assert record.shared is None
    assert record.verdict == "not shown"  # so few positives prove nothing


def test_the_flags_are_those_of_the_chain(chain: Chain, images: Path, tmp_path: Path) -> None:
    record = reevaluate(chain, holdout(images, tmp_path), AT)

    point = {t.stage: t.value for t in chain.manifest.operating_points[0].thresholds}
    flagged = [
        chain.run(images / f"{i}.dcm", point).outcome == "flagged" for i in range(0, CASES, 3)
    ]
    sensitivity = record.rows[0].sensitivity
    assert sensitivity is not None
    assert sensitivity.found.successes == sum(flagged)


def test_turned_labels_are_worse_and_shared_cases_say_that_reading_changed(
    chain: Chain, images: Path, tmp_path: Path
) -> None:
    def turned(i: int, positive: bool) -> Mapping[str, object]:
        return {"label": int(not positive), "cleared_label": int(positive)}

    record = reevaluate(chain, holdout(images, tmp_path, turned), AT)

    assert record.verdict == "worse than cleared"
    assert record.shared is not None
    moved = record.shared.now_positive + record.shared.now_negative
    assert moved == record.shared.cases
    assert record.shared.now_positive > record.shared.now_negative == POSITIVE
    assert record.shared.agreement_change.value < 0


def test_levels_of_the_table_reach_margins_that_no_header_has(
    chain: Chain, images: Path, tmp_path: Path
) -> None:
    def with_severity(_: int, positive: bool) -> Mapping[str, object]:
        return {"label": int(positive), "severity": "marked" if positive else "none"}

    record = reevaluate(chain, holdout(images, tmp_path, with_severity), AT)

    marked = [row for row in record.rows if (row.margin, row.level) == ("severity", "marked")]
    assert [row.positives for row in marked] == [POSITIVE]


def test_the_command_writes_signs_and_tells(images: Path, tmp_path: Path) -> None:
    key = tmp_path / "person.key"
    signer = SigningKey.load_or_create(key)
    folder, out, page = holdout(images, tmp_path), tmp_path / "r.json", tmp_path / "r.html"
    words = [chest_bundle(), folder, "--trusted", KEY.public.hex(), "--key", key]

    result = CliRunner().invoke(
        lab, ["reevaluate", *(str(w) for w in [*words, "-o", out, "--html", page])]
    )

    assert result.exit_code == 1, result.output
    assert "not shown" in result.output
    signed = open_sealed(HOLDOUT_TYPE, out.with_suffix(".sig").read_bytes(), [signer.public])
    assert parse(HoldoutRecord, signed) == HoldoutRecord.model_validate_json(out.read_text())
    text = page.read_text()
    assert "<script" not in text
    assert "age_band" not in text and "age 18 to 39" in text
    assert re.findall(r"\d+\.dcm", text + out.read_text()) == []


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"file": "a.dcm", "label": 2}], "line 2: a label 0 or 1 expected"),
        ([{"file": "../a.dcm", "label": 1}], "line 2: a file of the folder expected"),
        ([{"file": "b.dcm", "label": 1}], "line 2: a file of the folder expected"),
        ([{"file": "a.dcm", "label": 1}] * 2, "a file is named twice"),
    ],
)
def test_a_bad_table_is_refused_by_line(
    tmp_path: Path, rows: list[dict[str, object]], match: str
) -> None:
    folder = tmp_path / "h"
    folder.mkdir()
    (folder / "a.dcm").touch()
    (tmp_path / "a.dcm").touch()
    write(folder, rows)

    with pytest.raises(ContractError, match=match):
        read_holdout(folder)


def test_no_table_and_no_answer_are_refused(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(AppError, match=r"labels\.csv expected"):
        read_holdout(tmp_path)
    (tmp_path / "a.dcm").write_bytes(b"not DICOM")
    write(tmp_path, [{"file": "a.dcm", "label": 1}])

    with pytest.raises(ContractError, match="answered no case"):
        reevaluate(chain, tmp_path, AT)


def test_the_record_is_stable_json(chain: Chain, images: Path, tmp_path: Path) -> None:
    folder = holdout(images, tmp_path)

    one, again = (reevaluate(chain, folder, AT).model_dump(mode="json") for _ in range(2))

    assert json.dumps(one) == json.dumps(again)
