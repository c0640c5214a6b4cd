"""A walk forward through a case table: the reference first, then every arrival in its order."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.central.surveillance.results import signal_document
from app.contracts.case_table import ColumnsMap
from app.contracts.signals import Run, SignalsFile
from app.errors import ContractError
from app.lab.case_tables import read_table, table_history
from monitors.engine import Evaluation, History, Plan, build_reference, evaluate
from monitors.errors import MonitorError, NotAssessable


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    run_id: str
    csv: str
    reference_end: datetime.date


@dataclass(frozen=True, slots=True)
class Job:
    """One table to walk through. `reference_end` is the last day of the reference."""

    run_id: str
    table: Path
    reference_end: datetime.date


def read_index(path: Path) -> tuple[Job, ...]:
    """The jobs of an `INDEX.json`; tables are found beside it."""
    try:
        entries = TypeAdapter(list[_Entry]).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise ContractError("index", f"index {path.name}: {type(error).__name__}") from error
    names = [e.run_id for e in entries]
    if len(set(names)) != len(names):
        raise ContractError("index", f"index {path.name}: a run_id stands twice")
    return tuple(Job(e.run_id, path.parent / e.csv, e.reference_end) for e in entries)


def run_job(job: Job, columns: ColumnsMap, plan: Plan) -> Run:
    """One run. A table that cannot be assessed gives a run that says so, and no signal."""
    end = job.reference_end.toordinal()
    try:
        history, _ = table_history(read_table(job.table), columns, end)
        evaluation = walk_forward(plan, history, end + 1)
    except NotAssessable as error:
        return _nothing(job, plan, error)
    return as_run(job.run_id, evaluation)


def _run_one_of_many(job: Job, columns: ColumnsMap, plan: Plan) -> Run:
    """A run; a table that is refused loses its own run, not the others'."""
    try:
        return run_job(job, columns, plan)
    except (ContractError, MonitorError) as error:
        return _nothing(job, plan, error)


def _nothing(job: Job, plan: Plan, reason: Exception) -> Run:
    return Run(
        run_id=job.run_id,
        signals=(),
        false_signals_promised_per_year=plan.false_signals_per_year,
        assessability={"fleet": f"not assessable: {reason}"},
    )


def walk_forward(plan: Plan, history: History, until: int) -> Evaluation:
    """Reference before the day `until`, and everything after it."""
    return evaluate(plan, build_reference(plan, history, until), history)


def as_run(run_id: str, evaluation: Evaluation) -> Run:
    """An evaluation in the shape of the contract."""
    return Run(
        run_id=run_id,
        signals=tuple(signal_document(s.id, s) for s in evaluation.signals),
        false_signals_promised_per_year=evaluation.false_signals_promised_per_year,
        assessability=evaluation.assessability,
    )


def run_all(
    jobs: Sequence[Job], columns: ColumnsMap, plan: Plan, workers: int | None = None
) -> Iterator[Run]:
    """Every run, as it is finished, over all cores."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    run = run_job if len(jobs) == 1 else _run_one_of_many
    if count <= 1:
        for job in jobs:
            yield run(job, columns, plan)
        return
    with ProcessPoolExecutor(count) as pool:
        waiting = [pool.submit(run, job, columns, plan) for job in jobs]
        for done in as_completed(waiting):
            yield done.result()


def signals_file(plan: Plan, jobs: Sequence[Job], runs: Sequence[Run]) -> SignalsFile:
    """The runs in the order of the jobs."""
    by_id = {run.run_id: run for run in runs}
    return SignalsFile(plan=f"sha256:{plan.digest}", runs=tuple(by_id[job.run_id] for job in jobs))


def read_plan(path: Path | None) -> Plan:
    """A plan from JSON, or the default."""
    if path is None:
        return Plan()
    try:
        return Plan(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ContractError("plan", f"plan {path.name}: {error}") from error
