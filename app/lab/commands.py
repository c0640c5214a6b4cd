"""`lockwatch lab`: off-line work on case tables, and simulated fleets."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.lab import holdout_command, table_commands
from app.lab.options import (
    ColumnsOption,
    NotPossible,
    OutOption,
    PlanOption,
    as_date,
    refusals,
)

lab = typer.Typer(
    help="Work on a table of cases: references, walks forward, comparisons, simulations.",
    no_args_is_help=True,
)

lab.command()(table_commands.compare)
lab.command()(table_commands.prevalence)
lab.command()(table_commands.recalibrate)
lab.command()(table_commands.power)
lab.command()(holdout_command.reevaluate)


@lab.command()
def backtest(
    columns: ColumnsOption,
    out: OutOption,
    cases: Annotated[Path | None, typer.Argument(help="A case table.")] = None,
    reference_end: Annotated[
        str | None, typer.Option("--reference-end", help="Last day of the reference.")
    ] = None,
    index: Annotated[Path | None, typer.Option("--index", help="Several tables at once.")] = None,
    plan: PlanOption = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Default: all cores.")] = None,
) -> None:
    """Walk forward through one or several case tables and write the signals."""
    from rich.progress import track

    from app.contracts.case_table import read_columns_map
    from app.lab.backtest import Job, read_index, read_plan, run_all, signals_file

    if index is not None:
        jobs = read_index(index)
    elif cases is not None and reference_end is not None:
        jobs = (Job(cases.stem.split(".")[0], cases, as_date(reference_end)),)
    else:
        raise NotPossible("a case table with --reference-end, or --index, is needed")
    chosen, mapped = read_plan(plan), read_columns_map(columns)
    with refusals():
        found = run_all(jobs, mapped, chosen, workers)
        runs = list(track(found, description="Walking forward", total=len(jobs)))
    out.write_text(signals_file(chosen, jobs, runs).model_dump_json(indent=1) + "\n")
    signals = sum(len(run.signals) for run in runs)
    typer.echo(f"{len(runs)} runs, {signals} signals: {out}")


@lab.command()
def reference(
    cases: Annotated[Path, typer.Argument(help="A case table.")],
    columns: ColumnsOption,
    until: Annotated[str, typer.Option("--until", help="Last day of the reference.")],
    out: OutOption,
    plan: PlanOption = None,
) -> None:
    """What the reference part of a case table can carry, and its digest."""
    import json

    from app.contracts.case_table import read_columns_map
    from app.lab.backtest import read_plan
    from app.lab.case_tables import read_table, table_history
    from monitors.engine import build_reference

    end = as_date(until).toordinal()
    with refusals():
        history, facts = table_history(read_table(cases), read_columns_map(columns), end)
        built = build_reference(read_plan(plan), history, end + 1)
    document = {
        "digest": f"sha256:{built.digest}",
        "until": until,
        "cases": facts.reference_cases,
        "streams": [stream.name for stream in built.streams],
        "assessability": built.assessability,
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    typer.echo(f"{len(built.units)} strata, {len(built.streams)} streams: {out}")


@lab.command()
def simulate(
    seed: Annotated[int, typer.Option("--seed", help="Other patients, noise, dates and sites.")],
    out: OutOption,
    in_control: Annotated[bool, typer.Option("--in-control", help="Plant nothing.")] = False,
) -> None:
    """Walk through a simulated fleet with planted drifts; write what was planted and found."""
    import dataclasses
    import json

    from app.lab.backtest import as_run, walk_forward
    from app.lab.simulate import demo_fleet
    from app.lab.simulate import simulate as simulate_fleet
    from monitors.engine import Plan

    fleet = demo_fleet(seed)
    if in_control:
        fleet = dataclasses.replace(fleet, drifts=())
    with refusals():
        evaluation = walk_forward(Plan(), simulate_fleet(fleet, seed), fleet.reference_end)
    document = {
        "planted": [
            dataclasses.asdict(drift)
            | {"date": datetime.date.fromordinal(fleet.reference_end + drift.day).isoformat()}
            for drift in fleet.drifts
        ],
        "run": as_run(f"seed-{seed}", evaluation).model_dump(mode="json"),
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    typer.echo(f"{len(fleet.drifts)} planted, {len(evaluation.signals)} signals: {out}")
