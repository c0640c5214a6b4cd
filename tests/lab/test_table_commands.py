"""One or two tables in, one answer out, as JSON and as a page that stands alone."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from app.contracts.case_table import read_columns_map
from app.errors import AppError, ContractError
from app.lab import simulate
from app.lab.commands import lab
from app.lab.comparing import compare
from app.lab.mixing import mixing
from app.lab.simulate import Drift, Fleet
from app.lab.two_tables import TwoTables, read_two
from tests.lab.tables import write

PLANTED = {
    "none": (),
    "scanner": (Drift(kind="scanner", day=0, site="H2", scanner="S1", size=1.5),),
    "prevalence": (Drift(kind="prevalence", day=0, site="", size=2.5),),
}
FLEET = Fleet(volume=50.0, reference_days=40, monitored_days=25)
OTHERS = ("none", "prevalence", "scanner")
END = datetime.date.fromordinal(FLEET.reference_end - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two-tables")
    for name, drifts in PLANTED.items():
        fleet = Fleet(volume=50.0, reference_days=40, monitored_days=25, drifts=drifts)
        write(path, fleet, 4, f"{name}.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "READ_MARGIN", 2.5)  # readers who hardly ever err
        write(path, fleet, 4, "clear.csv")
    return path


def two(folder: Path, name: str) -> TwoTables:
    return read_two(folder / f"{name}.csv", None, END, read_columns_map(folder / "columns.toml"))


def run(*words: object) -> str:
    result = CliRunner().invoke(lab, [str(w) for w in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def stands_alone(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert re.findall(r"""(?:src|href)=["'](?!#)""", page) == []


# Compare -------------------------------------------------------------------------------------


def test_a_planted_change_of_a_scanner_is_named_and_drawn(folder: Path) -> None:
    out, page = folder / "scanner.json", folder / "scanner.html"

    said = run("compare", folder / "scanner.csv", "--columns", folder / "columns.toml",
               "--reference-end", END, "-o", out, "--html", page)  # fmt: skip

    assert "a difference, cause scanner" in said
    found = json.loads(out.read_text())
    assert found["differs"]
    assert found["verdict"]["causes"] == ["scanner"]
    moved = {r["name"] for r in found["rows"] if r["adjusted"] <= 0.05}
    assert "contrast" in moved
    assert "noise" not in moved
    stands_alone(page.read_text())
    assert "The images themselves changed" in page.read_text()


def test_nothing_planted_is_no_difference_and_patients_are_prevalence(folder: Path) -> None:
    quiet, patients = compare(two(folder, "none")), compare(two(folder, "prevalence"))

    assert not quiet.differs
    assert quiet.verdict is None
    assert patients.differs
    assert patients.verdict is not None
    assert patients.verdict.causes == ("prevalence",)


def test_two_files_and_one_file_split_say_the_same(folder: Path) -> None:
    frame = pd.read_csv(folder / "scanner.csv", dtype=str)
    early = pd.to_datetime(frame["acquired"]).dt.date <= END
    frame[early].to_csv(folder / "early.csv", index=False)
    frame[~early].to_parquet(folder / "late.parquet")
    columns = read_columns_map(folder / "columns.toml")

    apart = compare(read_two(folder / "early.csv", folder / "late.parquet", None, columns))

    assert apart == compare(two(folder, "scanner"))


def test_dates_and_names_of_the_second_table_do_not_matter(folder: Path) -> None:
    frame = pd.read_csv(folder / "scanner.csv", dtype=str)
    day = pd.to_datetime(frame["acquired"])
    frame[day.dt.date <= END].to_csv(folder / "one.csv", index=False)
    late = frame[day.dt.date > END].copy()
    for column in ("acquired", "uploaded", "read_on"):
        moved = pd.to_datetime(late[column]) + pd.Timedelta(days=364)
        late[column] = moved.dt.date.astype(str).where(moved.notna(), None)
    late["hospital"] = "X" + late["hospital"].astype(str)
    late.to_csv(folder / "two.csv", index=False)

    other = compare(
        read_two(folder / "one.csv", folder / "two.csv", None,
                 read_columns_map(folder / "columns.toml"))
    )  # fmt: skip

    here = compare(two(folder, "scanner"))
    assert [r.p for r in other.rows] == pytest.approx([r.p for r in here.rows])
    assert other.current_cases == here.current_cases


def test_a_table_too_small_for_a_cause_says_so(folder: Path) -> None:
    frame = pd.read_csv(folder / "scanner.csv", dtype=str)
    cases = frame[frame["sentinel"].isna()]
    cases.head(250).to_csv(folder / "big.csv", index=False)
    cases.tail(30).to_csv(folder / "few.csv", index=False)

    found = compare(
        read_two(folder / "big.csv", folder / "few.csv", None,
                 read_columns_map(folder / "columns.toml"))
    )  # fmt: skip

    assert found.verdict is None
    assert any("joint tests and cause" in word for word in found.not_assessable)


# Prevalence and thresholds -------------------------------------------------------------------


def test_the_share_of_positives_is_estimated_and_the_fit_accepted(folder: Path) -> None:
    out, page = folder / "p.json", folder / "p.html"
    run("prevalence", folder / "prevalence.csv", "--columns", folder / "columns.toml",
        "--reference-end", END, "-o", out, "--html", page)  # fmt: skip

    found = json.loads(out.read_text())
    quiet = mixing(two(folder, "none"))

    likelihood, matched, flags = (e["value"] for e in found["estimates"])
    assert likelihood > quiet.estimates[0].high
    assert matched == pytest.approx(likelihood, abs=0.03)
    assert flags == pytest.approx(likelihood, abs=0.08)
    assert found["supported"]
    assert quiet.measured is not None
    assert quiet.measured.low <= quiet.estimates[0].value <= quiet.measured.high
    assert {name for name, *_ in found["consequences"]} >= {"ppv", "sensitivity"}
    stands_alone(page.read_text())
    assert "Missed positives look exactly like fewer positives" in page.read_text()


def test_a_higher_prevalence_lowers_the_threshold_and_other_causes_refuse(folder: Path) -> None:
    out, page = folder / "r.json", folder / "r.html"
    words = ["--columns", folder / "columns.toml", "--reference-end", END, "-o", out,
             "--html", page, "--hold", "ppv", "--target", "0.5"]  # fmt: skip

    run("recalibrate", folder / "clear.csv", *words)
    moved = json.loads(out.read_text())
    stands_alone(page.read_text())
    said = {name: run("recalibrate", folder / f"{name}.csv", *words) for name in OTHERS}
    refused = json.loads(out.read_text())

    assert moved["refused"] == []
    assert moved["new_threshold"] < moved["old_threshold"]
    old, new = ({n: v for n, v, *_ in moved[of]}["ppv"] for of in ("old", "new"))
    assert 0.5 <= new < old  # as near as the merged bins allow
    assert "before" in said["none"]  # the share of positives is as it was
    assert "labels moved" in said["prevalence"]  # of readers who err: scores exaggerate
    assert "scores are never remapped" in said["scanner"]
    assert refused["new_threshold"] is None
    assert all(r["would_change"] for r in refused["refused"])
    assert "No threshold is proposed" in page.read_text()
    stands_alone(page.read_text())


def test_a_claim_that_would_be_broken_refuses(folder: Path) -> None:
    out = folder / "claim.json"
    run("recalibrate", folder / "clear.csv", "--columns", folder / "columns.toml",
        "--reference-end", END, "-o", out, "--hold", "alert_rate", "--target", "0.25",
        "--claim", "0.9")  # fmt: skip

    [reason] = json.loads(out.read_text())["refused"]
    assert "below the claim of 0.9" in reason["found"]


# Power ---------------------------------------------------------------------------------------


def test_power_says_days_by_stratum_and_larger_changes_sooner(folder: Path) -> None:
    out, page = folder / "w.json", folder / "w.html"
    run("power", folder / "none.csv", "--columns", folder / "columns.toml",
        "--reference-end", END, "-o", out, "--html", page)  # fmt: skip

    found = json.loads(out.read_text())
    for stratum in found["strata"]:
        days = [float("inf") if d is None else d for _, d in stratum["days"]]
        assert days[0] >= days[1] >= days[2] > 0
        assert days[3] >= days[4]
        assert 0.05 < stratum["month"] < 0.5
    stands_alone(page.read_text())


# Refusals ------------------------------------------------------------------------------------


def test_refusals_say_what_was_expected(folder: Path) -> None:
    columns = ["--columns", folder / "columns.toml", "-o", folder / "x.json"]
    table, hold = folder / "none.csv", ["--hold", "ppv", "--target", "0.5"]
    for words, match in (
        (["compare", table, *columns], "a second table or --reference-end is needed"),
        (["compare", table, table, "--reference-end", END, *columns], "not both"),
        (["compare", table, "--reference-end", "soon", *columns], "a date like"),
        (["compare", table, "--reference-end", "2001-01-01", *columns], "reference table: no case"),
        (["recalibrate", table, "--reference-end", END, *columns, "--hold", "x", "--target", "1"],
         "one of sensitivity, specificity, ppv, alert_rate, net_benefit expected"),
    ):  # fmt: skip
        with pytest.raises(AppError, match=match):
            run(*words)
    bare = folder / "bare.toml"
    bare.write_text((folder / "columns.toml").read_text().split("[operating_point]")[0])
    with pytest.raises(ContractError, match=r"needs an \[operating_point\]"):
        run("recalibrate", table, "--reference-end", END, "--columns", bare,
            "-o", folder / "x.json", *hold)  # fmt: skip
    unlabelled = folder / "unlabelled.toml"
    unlabelled.write_text(
        "\n".join(
            line for line in (folder / "columns.toml").read_text().splitlines()
            if not line.startswith(("label", "reader", "random_audit"))
        )
    )  # fmt: skip
    with pytest.raises(AppError, match="at least 30 positive reference labels needed, got 0"):
        run("prevalence", table, "--reference-end", END, "--columns", unlabelled,
            "-o", folder / "x.json")  # fmt: skip
