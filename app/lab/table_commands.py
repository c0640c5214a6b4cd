"""`lockwatch lab compare | prevalence | recalibrate | power`: a question to one or two tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.lab.options import ColumnsOption, OutOption, PlanOption, as_date, refusals

if TYPE_CHECKING:
    from app.lab.two_tables import TwoTables

ReferenceArgument = Annotated[Path, typer.Argument(help="The reference's case table.")]
CurrentArgument = Annotated[
    Path | None, typer.Argument(help="The current case table; or split one by --reference-end.")
]
EndOption = Annotated[
    str | None, typer.Option("--reference-end", help="Last day of the reference in one table.")
]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="A page for people, besides.")]


def _two(reference: Path, current: Path | None, end: str | None, columns: Path) -> TwoTables:
    from app.contracts.case_table import read_columns_map
    from app.lab.two_tables import read_two

    day = None if end is None else as_date(end)
    return read_two(reference, current, day, read_columns_map(columns))


def compare(
    reference: ReferenceArgument,
    columns: ColumnsOption,
    out: OutOption,
    current: CurrentArgument = None,
    reference_end: EndOption = None,
    plan: PlanOption = None,
    html: HtmlOption = None,
) -> None:
    """Two tables, one verdict: what differs, how far, and the likeliest cause."""
    from app.lab import pages
    from app.lab.backtest import read_plan
    from app.lab.comparing import compare as compare_tables

    with refusals():
        tables = _two(reference, current, reference_end, columns)
        found = compare_tables(tables, read_plan(plan))
    pages.write(found, pages.comparison_view(found, tables) if html else None, out, html)
    cause = "" if found.verdict is None else f", cause {' and '.join(found.verdict.causes)}"
    typer.echo(f"{'a difference' if found.differs else 'no difference shown'}{cause}: {out}")


def prevalence(
    reference: ReferenceArgument,
    columns: ColumnsOption,
    out: OutOption,
    current: CurrentArgument = None,
    reference_end: EndOption = None,
    html: HtmlOption = None,
) -> None:
    """The share of positive cases from scores alone, and whether only that share changed."""
    from app.lab import pages
    from app.lab.mixing import mixing

    with refusals():
        found = mixing(_two(reference, current, reference_end, columns))
    pages.write(found, pages.prevalence_view(found) if html else None, out, html)
    best = found.estimates[0]
    typer.echo(f"{best.value:.3f} ({best.low:.3f} to {best.high:.3f}) positive: {out}")


def recalibrate(
    reference: ReferenceArgument,
    columns: ColumnsOption,
    out: OutOption,
    hold: Annotated[
        str,
        typer.Option("--hold", help="sensitivity, specificity, ppv, alert_rate or net_benefit."),
    ],
    target: Annotated[
        float,
        typer.Option("--target", help="What to hold it at; net_benefit: C_FP / (C_FP + C_FN)."),
    ],
    claim: Annotated[
        float, typer.Option("--claim", help="Sensitivity that must stay guaranteed; 0 for none.")
    ] = 0.0,
    current: CurrentArgument = None,
    reference_end: EndOption = None,
    html: HtmlOption = None,
) -> None:
    """The threshold that a policy asks for at the current prevalence, or why there is none."""
    from app.lab import pages
    from app.lab.proposing import propose

    with refusals():
        tables = _two(reference, current, reference_end, columns)
        found = propose(tables, hold, target, claim)
    pages.write(found, pages.proposal_view(found) if html else None, out, html)
    if found.new_threshold is None:
        typer.echo(f"refused: {'; '.join(r.found for r in found.refused)}: {out}")
    else:
        typer.echo(f"{found.old_threshold:g} to {found.new_threshold:.4g}: {out}")


def power(
    cases: Annotated[Path, typer.Argument(help="A case table; its reference part is used.")],
    columns: ColumnsOption,
    out: OutOption,
    reference_end: Annotated[
        str, typer.Option("--reference-end", help="Last day of the reference.")
    ],
    plan: PlanOption = None,
    html: HtmlOption = None,
) -> None:
    """What could be seen at this table's volume: days until a signal, by stratum and change."""
    from rich.progress import Progress

    from app.contracts.case_table import read_columns_map
    from app.lab import pages
    from app.lab.backtest import read_plan
    from app.lab.case_tables import read_table, table_history
    from app.lab.visible import Power, power_of

    end = as_date(reference_end).toordinal()
    with refusals(), Progress(transient=True) as progress:
        history, _ = table_history(read_table(cases), read_columns_map(columns), end)
        steps = power_of(history, end + 1, read_plan(plan))
        total = next(steps)
        task = progress.add_task("Strata", total=total if isinstance(total, int) else None)
        for step in steps:
            if isinstance(step, Power):
                found = step
            progress.advance(task)
    pages.write(found, pages.power_view(found) if html else None, out, html)
    typer.echo(f"{len(found.strata)} strata, {found.streams} streams: {out}")
