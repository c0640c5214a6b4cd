"""The laboratory's commands: a case table in, signals out; refusals that say what to change."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from app.contracts.case_table import read_columns_map
from app.contracts.signals import SignalsFile
from app.errors import AppError, ContractError
from app.lab.backtest import Job, read_index, read_plan, run_job
from app.lab.case_tables import read_table, table_history
from app.lab.commands import lab
from app.lab.simulate import Drift, Fleet
from monitors.engine import Plan
from tests.lab.tables import write

DRIFT = Drift(kind="scanner", day=8, site="H2", scanner="S1", size=1.5)
FLEET = Fleet(volume=50.0, reference_days=45, monitored_days=30, drifts=(DRIFT,))
END = datetime.date.fromordinal(FLEET.reference_end - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    write(path, FLEET, 4, "cases.csv")
    write(path, FLEET, 4, "cases.csv.gz")
    write(path, FLEET, 4, "cases.parquet")
    return path


def run(*words: object) -> str:
    result = CliRunner().invoke(lab, [str(w) for w in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_backtest_writes_the_planted_change_in_the_shape_of_the_contract(folder: Path) -> None:
    out = folder / "signals.json"

    run("backtest", folder / "cases.csv", "--columns", folder / "columns.toml",
        "--reference-end", END, "-o", out)  # fmt: skip

    written = SignalsFile.model_validate_json(out.read_bytes())
    assert written.plan == f"sha256:{Plan().digest}"
    [outcome] = written.runs
    [signal] = outcome.signals
    assert outcome.false_signals_promised_per_year == 1.0
    assert (signal.sites, signal.scanners) == (("H2",), ("H2-S1",))
    assert signal.history[-1].causes == ("scanner",)
    planted = END + datetime.timedelta(days=1 + DRIFT.day)
    assert signal.change_interval is not None
    assert signal.change_interval[0] <= planted <= signal.change_interval[1]
    assert outcome.assessability["H1:H1-S1:1.0"].startswith("provisional")


@pytest.mark.parametrize("name", ["cases.csv.gz", "cases.parquet"])
def test_the_file_format_does_not_matter(folder: Path, name: str) -> None:
    columns = read_columns_map(folder / "columns.toml")

    one = run_job(Job("a", folder / "cases.csv", END), columns, Plan())
    other = run_job(Job("a", folder / name, END), columns, Plan())

    assert one == other


def test_several_tables_run_by_an_index_in_its_order(folder: Path) -> None:
    index, out = folder / "index.json", folder / "many.json"
    entries = [
        {"run_id": name, "csv": "cases.csv", "reference_end": END.isoformat()}
        for name in ("second", "first")
    ]
    index.write_text(json.dumps(entries))

    run("backtest", "--index", index, "--columns", folder / "columns.toml", "-o", out,
        "--workers", 2)  # fmt: skip

    written = SignalsFile.model_validate_json(out.read_bytes())
    assert [r.run_id for r in written.runs] == ["second", "first"]
    assert written.runs[0].signals == written.runs[1].signals


def test_a_reference_names_its_streams_and_its_digest(folder: Path) -> None:
    out = folder / "reference.json"

    run("reference", folder / "cases.csv", "--columns", folder / "columns.toml",
        "--until", END, "-o", out)  # fmt: skip

    document = json.loads(out.read_text())
    assert document["digest"].startswith("sha256:")
    assert "acquisition:H1:H1-S1" in document["streams"]
    assert document["cases"] > 6000


def test_a_simulation_says_what_was_planted_and_what_was_found(tmp_path: Path) -> None:
    out = tmp_path / "simulated.json"

    run("simulate", "--seed", 3, "--in-control", "-o", out)

    document = json.loads(out.read_text())
    assert document["planted"] == []
    assert document["run"]["run_id"] == "seed-3"


def test_a_table_too_small_says_that_it_cannot_be_assessed(folder: Path) -> None:
    early = END - datetime.timedelta(days=40)

    outcome = run_job(
        Job("small", folder / "cases.csv", early), read_columns_map(folder / "columns.toml"), Plan()
    )

    assert outcome.signals == ()
    assert outcome.assessability["fleet"].startswith("not assessable: ")


def test_a_table_without_score_or_labels_is_watched_by_what_it_has(folder: Path) -> None:
    bare = folder / "bare.toml"
    bare.write_text(
        '[columns]\nwindow_date = "acquired"\nsite = "hospital"\nscanner = "scanner"\n'
        'sentinel_id = "sentinel"\nacquisition = ["noise", "sharpness", "contrast"]\n'
    )

    outcome = run_job(Job("bare", folder / "cases.csv", END), read_columns_map(bare), Plan())

    assert all(signal.stream.startswith("acquisition") for signal in outcome.signals)
    assert outcome.assessability["H1:H1-S1"].startswith("provisional")


def test_sentinel_rows_are_not_cases(folder: Path) -> None:
    history, facts = table_history(
        read_table(folder / "cases.csv"),
        read_columns_map(folder / "columns.toml"),
        END.toordinal(),
    )

    assert facts.sentinel_rows > 0
    assert facts.cases + facts.sentinel_rows == facts.rows
    assert len(history.sentinels.day) > 0
    assert history.schema.sentinels == 100


def refused(words: list[object], match: str) -> None:
    with pytest.raises(AppError, match=match):
        run(*words)


def test_refusals_say_what_was_expected(folder: Path, tmp_path: Path) -> None:
    columns = ["--columns", folder / "columns.toml", "-o", tmp_path / "x.json"]
    table = folder / "cases.csv"
    refused(["backtest", table, *columns], "--reference-end, or --index, is needed")
    refused(
        ["backtest", table, "--reference-end", "soon", *columns],
        "a date like 2026-03-31 expected, got 'soon'",
    )
    refused(
        ["backtest", tmp_path / "none.csv", "--reference-end", END, *columns], "no file none.csv"
    )
    refused(
        ["backtest", table, "--reference-end", "2001-01-01", *columns],
        "no case on or before the end of the reference",
    )
    refused(["reference", table, "--until", "2025-01-08", *columns], "no stratum has 300")


def test_a_missing_column_is_named(folder: Path) -> None:
    columns = read_columns_map(folder / "columns.toml")
    frame = read_table(folder / "cases.csv").drop(columns=["noise"])

    with pytest.raises(ContractError, match="case table lacks columns: noise"):
        table_history(frame, columns, END.toordinal())


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("score", "1.7", r"scores must lie in \[0, 1\]"),
        ("y", "2", "labels must be 0, 1 or empty, 1 are not"),
        ("acquired", "yesterday", "column acquired: not dates"),
        ("acquired", None, "every row needs a window date"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(
    folder: Path, column: str, value: str | None, match: str
) -> None:
    columns = read_columns_map(folder / "columns.toml")
    frame: pd.DataFrame = read_table(folder / "cases.csv")
    frame.loc[0, column] = value

    with pytest.raises(ContractError, match=match):
        table_history(frame, columns, END.toordinal())


def test_an_index_or_plan_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('[{"run_id": "a"}]')
    with pytest.raises(ContractError, match=r"index wrong.json: ValidationError"):
        read_index(wrong)
    twice = [{"run_id": "a", "csv": "a.csv", "reference_end": "2026-01-01"}] * 2
    wrong.write_text(json.dumps(twice))
    with pytest.raises(ContractError, match="a run_id stands twice"):
        read_index(wrong)
    wrong.write_text('{"budget": 3}')
    with pytest.raises(ContractError, match=r"plan wrong.json"):
        read_plan(wrong)
    with pytest.raises(ContractError, match=r"case table: .csv, .csv.gz or .parquet"):
        read_table(wrong)
