"""`lockwatch bundle` and `lockwatch device`: build, sign, verify and look at locked bundles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

if TYPE_CHECKING:
    from app.contracts.manifest import Manifest
    from app.contracts.signing import SigningKey
    from app.device.bundle import Bundle

bundle = typer.Typer(help="Build, sign, verify and inspect locked bundles.", no_args_is_help=True)
device = typer.Typer(help="Train the reference devices.", no_args_is_help=True)

EFFORTS = ("full", "small")
Folder = Annotated[Path, typer.Argument(help="The bundle's folder.")]
Trusted = Annotated[
    list[str], typer.Option("--trusted", help="Hex public key of the manufacturer; repeatable.")
]
Threshold = Annotated[
    int, typer.Option(min=1, help="How many different trusted keys must have signed.")
]
Key = Annotated[
    Path, typer.Option(help="Signing key file.", exists=True, dir_okay=False, readable=True)
]


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


@bundle.command("build")
def build_bundle(
    draft: Annotated[Path, typer.Argument(help="The manifest in JSON, without its files.")],
    files: Annotated[Path, typer.Argument(help="Folder with exactly the bundle's files.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the bundle.")],
    key: Key,
) -> None:
    """Write a bundle from a draft manifest and its files, with a first signature."""
    from app.device.build import drafted, files_under, write_bundle

    found = files_under(files)
    manifest = drafted(draft.read_bytes(), found)
    signer = _key(key)
    write_bundle(out, manifest, found, [signer])
    _opened(out, [signer.public.hex()], 1)
    typer.echo(f"lock digest {manifest.lock_digest}\npublic key  {signer.public.hex()}")


@bundle.command()
def sign(folder: Folder, key: Key) -> None:
    """Add another person's signature, after the files were checked against the manifest."""
    from app.device.build import add_signature

    signer = _key(key)
    manifest = add_signature(folder, signer)
    typer.echo(f"lock digest {manifest.lock_digest}\npublic key  {signer.public.hex()}")


@bundle.command()
def verify(folder: Folder, trusted: Trusted, threshold: Threshold = 1) -> None:
    """Check signatures, lengths, hashes and programs, and that all it names can be measured. Exit
    code 0: it is what was cleared."""
    from app.device.measurable import check_measurable

    opened = _opened(folder, trusted, threshold)
    check_measurable(opened.manifest)
    typer.echo(f"{opened.manifest.device} {opened.manifest.version}: {opened.lock_digest}")


@bundle.command("known-answers")
def known_answers(folder: Folder, trusted: Trusted, threshold: Threshold = 1) -> None:
    """Run the known-answer cases. Exit code 1: which case moved, and by how much."""
    from app.device.chain import Chain

    opened = _opened(folder, trusted, threshold)
    typer.echo(f"lock holds: largest deviation {Chain.load(opened).prove():.2e}")


@bundle.command()
def inspect(
    folder: Folder,
    trusted: Trusted,
    threshold: Threshold = 1,
    html: Annotated[Path | None, typer.Option(help="Write the card as a page to sign.")] = None,
    sbom: Annotated[
        Path | None, typer.Option(help="Write the bill of materials as CycloneDX 1.6 JSON.")
    ] = None,
) -> None:
    """Show the device card: identity, limits, chain, operating points, performance, lineage."""
    from app.device.bundle import signers
    from app.device.card import page
    from app.device.sbom import cyclonedx

    manifest = _opened(folder, trusted, threshold).manifest
    if html is not None:
        html.write_text(page(manifest, signers(folder, _keys(trusted))), encoding="utf-8")
    if sbom is not None:
        sbom.write_text(cyclonedx(manifest), encoding="utf-8")
    if html is None and sbom is None:
        _show(manifest, len(signers(folder, _keys(trusted))), threshold)


def _show(manifest: Manifest, signed: int, threshold: int) -> None:
    from rich.console import Console
    from rich.table import Table

    from app.device.card import sections

    console = Console(highlight=False)
    console.print(f"{manifest.device} {manifest.version}", style="bold", markup=False)
    console.print(manifest.intended_use, markup=False)
    console.print(f"trusted signatures: {signed}, needed: {threshold}")
    for section in sections(manifest):
        table = Table(title=section.title, title_justify="left", show_header=any(section.columns))
        for place, column in enumerate(section.columns):
            table.add_column(
                column, justify="right" if place in section.numeric else "left", overflow="fold"
            )
        for row in section.rows:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)


def _opened(folder: Path, trusted: list[str], threshold: int) -> Bundle:
    from app.device.bundle import open_bundle

    return open_bundle(folder, _keys(trusted), threshold)


def _keys(trusted: list[str]) -> list[bytes]:
    for text in trusted:
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise typer.BadParameter(
                "a public key of 64 hex digits expected", param_hint="--trusted"
            )
    return [bytes.fromhex(text) for text in trusted]


def _key(path: Path) -> SigningKey:
    from app.contracts.signing import SigningKey

    seed = path.read_bytes()
    if len(seed) != 32:
        raise typer.BadParameter(f"a key of 32 bytes expected, got {len(seed)}", param_hint="--key")
    return SigningKey.from_seed(seed)
