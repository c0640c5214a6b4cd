"""`lockwatch lab reevaluate`: the locked chain on a freshly labelled holdout, signed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.lab.options import NotPossible, OutOption, refusals

if TYPE_CHECKING:
    from app.lab.reevaluating import Labelled


def reevaluate(
    bundle: Annotated[Path, typer.Argument(help="The locked bundle's folder.")],
    holdout: Annotated[Path, typer.Argument(help="Folder with labels.csv and DICOM files.")],
    out: OutOption,
    trusted: Annotated[
        list[str], typer.Option("--trusted", help="Hex public key of the manufacturer; repeatable.")
    ],
    key: Annotated[
        Path, typer.Option(help="Who signs the record.", exists=True, dir_okay=False, readable=True)
    ],
    threshold: Annotated[
        int, typer.Option(min=1, help="How many different trusted keys must have signed.")
    ] = 1,
    html: Annotated[Path | None, typer.Option("--html", help="A page for people.")] = None,
) -> None:
    """Run the locked chain on freshly labelled files and compare every sub-group as cleared.

    Writes the record (-o) and, beside it with the suffix .sig, the same signed, to upload.
    Exit code 0: as cleared; 1: not shown, or worse.
    """
    from app import clock
    from app.contracts.holdout import HOLDOUT_TYPE
    from app.contracts.signing import SigningKey, seal
    from app.device.bundle import open_bundle
    from app.device.chain import Chain
    from app.lab.reevaluating import reevaluate as run
    from dashboards.reports.holdout import holdout_view

    signer = SigningKey.load_or_create(key)
    with refusals():
        chain = Chain.load(open_bundle(bundle, [_public(k) for k in trusted], threshold))
        record = run(chain, holdout, clock.now(), _shown)
    out.write_text(record.model_dump_json(indent=1) + "\n")
    envelope = seal(HOLDOUT_TYPE, record.model_dump(mode="json"), [signer])
    out.with_suffix(".sig").write_bytes(envelope)
    if html is not None:
        from dashboards.reports.document import report_html  # WeasyPrint takes seconds to load

        html.write_text(report_html(holdout_view(record)))
    typer.echo(f"{record.verdict}, {record.cases} files: {out}")
    raise typer.Exit(0 if record.verdict == "as cleared" else 1)


def _public(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise NotPossible("--trusted: a public key of 64 hex digits expected") from error


def _shown(holdout: Iterable[Labelled]) -> Iterable[Labelled]:
    from rich.progress import track

    cases = list(holdout)
    return track(cases, description="Running the locked chain", total=len(cases))
