"""Tables as they come: columns absent or empty, long embeddings, words for numbers, bad files."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.contracts.case_table import Columns, ColumnsMap, read_columns_map
from app.errors import ContractError
from app.lab.backtest import Job, read_index, run_all
from app.lab.case_tables import read_table, table_history
from app.lab.simulate import EMBEDDING, Fleet
from monitors.engine import Plan
from tests.lab.tables import write

FLEET = Fleet(sites=2, scanners=1, volume=30.0, reference_days=40, monitored_days=12)
END = datetime.date.fromordinal(FLEET.reference_end - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd")
    write(path, FLEET, 9)
    return path


@pytest.fixture
def frame(folder: Path) -> pd.DataFrame:
    return read_table(folder / "cases.csv")


@pytest.fixture(scope="module")
def columns(folder: Path) -> ColumnsMap:
    return read_columns_map(folder / "columns.toml")


def with_roles(columns: ColumnsMap, **roles: object) -> ColumnsMap:
    other = Columns.model_validate(columns.columns.model_dump() | roles)
    return columns.model_copy(update={"columns": other})


def test_a_table_with_a_score_alone_is_watched(frame: pd.DataFrame, columns: ColumnsMap) -> None:
    bare = with_roles(columns, acquisition=(), embedding=())

    history, _ = table_history(frame, bare, END.toordinal())

    assert history.schema.numeric == ()
    assert history.cases.rows[:, history.schema.columns["joint_n"]].sum() > 2000


def test_an_empty_column_is_as_good_as_absent(frame: pd.DataFrame, columns: ColumnsMap) -> None:
    frame["noise"], frame["e1"] = None, ""

    history, facts = table_history(frame, columns, END.toordinal())

    assert "noise" not in [f.name for f in history.schema.numeric]
    assert history.schema.joint.embedding == EMBEDDING - 1
    assert facts.cases > 2000


def test_a_characteristic_that_half_of_the_cases_lack_costs_no_case(
    frame: pd.DataFrame, columns: ColumnsMap
) -> None:
    whole, _ = table_history(frame, columns, END.toordinal())
    frame.loc[::2, "noise"] = None

    history, _ = table_history(frame, columns, END.toordinal())

    n = history.schema.columns["joint_n"]
    assert history.cases.rows[:, n].sum() == whole.cases.rows[:, n].sum()


def test_a_long_embedding_is_projected_not_cut(frame: pd.DataFrame, columns: ColumnsMap) -> None:
    rng = np.random.default_rng(1)
    names = [f"long{i}" for i in range(24)]
    for i, name in enumerate(names):  # all that varies much stands in the last columns
        frame[name] = rng.normal(size=len(frame)) * (5.0 if i >= 20 else 0.1)

    history, _ = table_history(frame, with_roles(columns, embedding=names), END.toordinal())

    where = history.schema.joint.blocks["embedding"]
    assert history.schema.joint.embedding == 16
    assert (history.schema.joint.scale[where][:4] > 4).all()


@pytest.mark.parametrize(("yes", "no"), [("True", "FALSE"), ("1.0", "0.0"), ("yes", "no")])
def test_labels_may_be_words(frame: pd.DataFrame, columns: ColumnsMap, yes: str, no: str) -> None:
    whole, _ = table_history(frame, columns, END.toordinal())
    known = frame["y"].notna()
    frame.loc[known, "y"] = np.where(frame.loc[known, "y"].astype(float) == 1, yes, no)

    history, _ = table_history(frame, columns, END.toordinal())

    assert np.array_equal(history.labels.rows, whole.labels.rows)


def test_a_refused_table_costs_no_other_its_run(
    folder: Path, frame: pd.DataFrame, columns: ColumnsMap
) -> None:
    frame.assign(score="1.7").to_csv(folder / "bad.csv", index=False)
    index = folder / "index.json"
    entries = [
        {"run_id": name, "csv": f"{name}.csv", "reference_end": END.isoformat()}
        for name in ("bad", "cases", "absent")
    ]
    index.write_text(json.dumps(entries))

    runs = {run.run_id: run for run in run_all(read_index(index), columns, Plan(), workers=1)}

    assert "scores must lie in [0, 1]" in runs["bad"].assessability["fleet"]
    assert "no file absent.csv" in runs["absent"].assessability["fleet"]
    assert any(word.startswith("provisional") for word in runs["cases"].assessability.values())


def test_a_table_on_its_own_is_refused_aloud(folder: Path, columns: ColumnsMap) -> None:

    with pytest.raises(ContractError, match=r"no file absent.csv"):
        list(run_all([Job("a", folder / "absent.csv", END)], columns, Plan()))
