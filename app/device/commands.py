"""`lockwatch bundle` and `lockwatch device`: build, verify and look at locked bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bundle = typer.Typer(help="Verify and inspect locked bundles.", no_args_is_help=True)
device = typer.Typer(help="Train the reference devices.", no_args_is_help=True)

EFFORTS = ("full", "small")
Folder = Annotated[Path, typer.Argument(help="The bundle's folder.")]
Trusted = Annotated[
    list[str], typer.Option("--trusted", help="Hex public key of the manufacturer; repeatable.")
]
Threshold = Annotated[int, typer.Option(help="How many trusted keys must have signed.")]


@device.command()
def train(
    pattern: Annotated[
        str,
        typer.Argument(
            help="cadt_triage, cade, cadx, ophthalmology, echo or dermatology.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the bundle.")],
    key: Annotated[Path, typer.Option(help="Signing key file; made there if it is missing.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same device.")] = 20260105,
    effort: Annotated[str, typer.Option(help="full, or small for a trial.")] = "full",
) -> None:
    """Train a reference device on generated phantoms and write its signed bundle."""
    from rich.progress import Progress

    from app.contracts.signing import SigningKey
    from app.device.reference import PATTERNS, builder

    if pattern not in PATTERNS:
        raise typer.BadParameter(f"one of {', '.join(PATTERNS)} expected, got {pattern}")
    if effort not in EFFORTS:
        raise typer.BadParameter(f"one of {', '.join(EFFORTS)} expected, got {effort}")
    build = builder(pattern)
    signer = SigningKey.load_or_create(key)
    with Progress() as bars:
        tasks = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        manifest = build(out, [signer], seed, effort, show)
    typer.echo(f"lock digest {manifest.lock_digest}\npublic key  {signer.public.hex()}")


@bundle.command()
def verify(folder: Folder, trusted: Trusted, threshold: Threshold = 1) -> None:
    """Check signatures, lengths, hashes and programs. Exit code 0: it is what was cleared."""
    from app.device.bundle import open_bundle

    opened = open_bundle(folder, [bytes.fromhex(k) for k in trusted], threshold)
    typer.echo(f"{opened.manifest.device} {opened.manifest.version}: {opened.lock_digest}")


@bundle.command("known-answers")
def known_answers(folder: Folder, trusted: Trusted, threshold: Threshold = 1) -> None:
    """Run the known-answer cases. Exit code 1: which case moved, and by how much."""
    from app.device.bundle import open_bundle
    from app.device.chain import Chain

    opened = open_bundle(folder, [bytes.fromhex(k) for k in trusted], threshold)
    typer.echo(f"lock holds: largest deviation {Chain.load(opened).prove():.2e}")


@bundle.command()
def inspect(folder: Folder, trusted: Trusted, threshold: Threshold = 1) -> None:
    """Print the device card: identity, intended use, operating points, sub-group performance."""
    from rich.console import Console
    from rich.table import Table

    from app.device.bundle import open_bundle

    manifest = open_bundle(folder, [bytes.fromhex(k) for k in trusted], threshold).manifest
    console = Console()
    console.print(f"{manifest.device} {manifest.version}, UDI-DI {manifest.udi_di}")
    console.print(f"lock digest {manifest.lock_digest}", highlight=False)
    console.print(manifest.intended_use)
    for point in manifest.operating_points:
        limits = ", ".join(f"{t.stage} >= {t.value:.4f}" for t in point.thresholds)
        console.print(f"operating point {point.id}: {limits}")
    table = Table("sub-group", "cases", "positive", "sensitivity", "specificity", "AUC")
    for row in manifest.validation.subgroups:
        shares = (
            f"{p.successes / p.n:.3f} ({p.low:.3f} to {p.high:.3f})" if p else "not assessable"
            for p in (row.sensitivity, row.specificity)
        )
        auc = f"{row.auc:.3f}" if row.auc is not None else "not assessable"
        table.add_row(
            f"{row.margin}: {row.level}", str(row.cases), str(row.positives), *shares, auc
        )
    console.print(table)
