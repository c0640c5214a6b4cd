"""A manufacturer's release on the command line: build, sign, verify, inspect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.contracts.manifest import Proportion, SubgroupRow
from app.contracts.signing import SigningKey
from app.device.bundle import MANIFEST, open_bundle
from app.device.card import page, sections
from app.device.commands import bundle
from app.device.sbom import cyclonedx
from app.errors import AppError
from tests.contracts.examples import a_manifest
from tests.support.chest_bundle import KEY

SECOND = SigningKey.from_seed(b"2" * 32)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(bundle, [str(a) for a in arguments])


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Key files of two people."""
    paths = tmp_path / "first.key", tmp_path / "second.key"
    for path, seed in zip(paths, (b"lockwatch tests: release key 01!", b"2" * 32), strict=True):
        path.write_bytes(seed)
    return paths


@pytest.fixture
def source(tmp_path: Path, files: dict[str, bytes]) -> tuple[Path, Path]:
    """A draft manifest and the folder with its files."""
    content = json.loads(a_manifest(sentinel=None).canonical)
    content["schema"]["sentinels"] = 0
    del content["files"], content["components"]
    draft, folder = tmp_path / "draft.json", tmp_path / "files"
    draft.write_text(json.dumps(content, indent=1))
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return draft, folder


def test_two_people_release_a_bundle(
    tmp_path: Path, source: tuple[Path, Path], keys: tuple[Path, Path]
) -> None:
    out = tmp_path / "bundle"
    trust = [f"--trusted={key.public.hex()}" for key in (KEY, SECOND)]

    built = run("build", *source, "-o", out, "--key", keys[0])
    assert built.exit_code == 0, built.output
    early = run("verify", out, *trust, "--threshold", 2)
    signed = run("sign", out, "--key", keys[1])
    late = run("verify", out, *trust, "--threshold", 2)

    assert "2 trusted signatures expected, got 1" in str(early.exception)
    assert signed.exit_code == late.exit_code == 0
    digest = open_bundle(out, [KEY.public], 1).lock_digest
    assert all(digest in result.output for result in (built, signed, late))


def test_the_bill_of_materials_is_that_of_the_build_unless_the_draft_has_one(
    tmp_path: Path, source: tuple[Path, Path], keys: tuple[Path, Path]
) -> None:
    run("build", *source, "-o", tmp_path / "bundle", "--key", keys[0])

    names = {c.name for c in open_bundle(tmp_path / "bundle", [KEY.public], 1).manifest.components}
    assert {"torch", "numpy", "lockwatch"} <= names
    assert {"sympy", "networkx", "annotated-types"} <= names  # needed by what we need
    assert not names & {"pytest", "ruff", "fastapi", "weasyprint"}


def test_nobody_signs_a_damaged_bundle(folder: Path, keys: tuple[Path, Path]) -> None:
    (folder / "known_answers.npz").write_bytes(b"abd")

    result = run("sign", folder, "--key", keys[1])

    assert isinstance(result.exception, AppError)
    assert "known_answers.npz: not the file that was signed" in str(result.exception)
    with pytest.raises(AppError):
        open_bundle(folder, [SECOND.public], 1)


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (b"{", "a JSON object expected"),
        (b"[1, 2]", "a JSON object expected"),
        (b"{}", "device: Field required"),
    ],
)
def test_a_draft_that_is_no_manifest_is_refused_by_its_field(
    tmp_path: Path, source: tuple[Path, Path], keys: tuple[Path, Path], draft: bytes, message: str
) -> None:
    source[0].write_bytes(draft)

    result = run("build", *source, "-o", tmp_path / "bundle", "--key", keys[0])

    assert message in str(result.exception)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "AB" * 32, "ab" * 33])
def test_a_key_that_is_none_is_refused(folder: Path, text: str) -> None:
    result = run("verify", folder, f"--trusted={text}")

    assert result.exit_code == 2
    assert "64 hex digits" in result.output


def test_a_key_file_of_another_length_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.key").write_bytes(b"short")

    result = run("sign", folder, "--key", tmp_path / "short.key")

    assert result.exit_code == 2 and "32 bytes" in result.output


def test_a_threshold_of_none_is_refused(folder: Path) -> None:
    result = run("verify", folder, f"--trusted={KEY.public.hex()}", "--threshold", 0)

    assert result.exit_code == 2


# The card ------------------------------------------------------------------------------------


def a_row(positives: int) -> SubgroupRow:
    share = Proportion(successes=4, n=5, low=0.38, high=0.96)
    return SubgroupRow(
        margin="sex", level="F", cases=40, positives=positives, sensitivity=share,
        specificity=share, auc=0.9, auc_low=0.8, auc_high=0.95,
    )  # fmt: skip


def with_rows(*rows: SubgroupRow):  # type: ignore[no-untyped-def]
    manifest = a_manifest()
    cohort = manifest.validation.model_copy(update={"subgroups": rows})
    return manifest.model_copy(update={"validation": cohort})


def test_inspect_prints_what_the_manifest_says(folder: Path) -> None:
    result = run("inspect", folder, f"--trusted={KEY.public.hex()}")
    manifest = open_bundle(folder, [KEY.public], 1).manifest

    assert result.exit_code == 0
    for text in ("ChestTriage 1.0.0", manifest.udi_di, "OP-1 (default)", "classifier.pt2", "DX or"):
        assert text in result.output
    assert "trusted signatures: 1, needed: 1" in result.output


def test_the_page_names_the_digest_the_keys_and_leaves_room_to_sign(
    folder: Path, tmp_path: Path
) -> None:
    html = tmp_path / "card.html"
    stranger = SECOND.public.hex()

    run("inspect", folder, f"--trusted={KEY.public.hex()}", f"--trusted={stranger}", "--html", html)

    text = html.read_text()
    assert json.loads((folder / MANIFEST).read_bytes())["udi_di"] in text
    assert open_bundle(folder, [KEY.public], 1).lock_digest in text
    assert KEY.key_id in text and SECOND.key_id not in text
    for word in ("author", "review", "approval", "printed name"):
        assert f">{word}<" in text
    assert "<script" not in text and "http" not in text


def test_nothing_is_written_about_a_bundle_that_is_not_trusted(
    folder: Path, tmp_path: Path
) -> None:
    result = run(
        "inspect", folder, f"--trusted={SECOND.public.hex()}", "--html", tmp_path / "card.html"
    )

    assert result.exit_code != 0
    assert not (tmp_path / "card.html").exists()


def test_markup_in_a_manifest_stays_text(folder: Path) -> None:
    manifest = a_manifest(device="<script>x</script>", intended_use="a & b <i>")

    text = page(manifest, [])

    assert "<script>" not in text and "&lt;script&gt;" in text and "a &amp; b &lt;i&gt;" in text


def test_an_estimate_from_few_positives_is_not_shown_but_its_row_is() -> None:
    (table,) = (s for s in sections(with_rows(a_row(9), a_row(10))) if "sub-group" in s.title)
    few, enough = table.rows

    assert few[:3] == ("sex: F", "40", "9")
    assert (few[3], few[5]) == ("not estimable", "not estimable")
    assert enough[3] == "0.800 (0.380 to 0.960)"
    assert enough[5] == "0.900 (0.800 to 0.950)"


# The bill of materials -----------------------------------------------------------------------


def test_the_bill_lists_every_file_and_library_once_and_repeats_itself() -> None:
    manifest = a_manifest()
    bill = json.loads(cyclonedx(manifest))

    assert cyclonedx(manifest) == cyclonedx(a_manifest())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"][0]["dependsOn"] == references
    by_name = {part["name"]: part for part in bill["components"]}
    for entry in manifest.files:
        assert by_name[entry.path]["hashes"] == [{"alg": "SHA-256", "content": entry.sha256}]
    for component in manifest.components:
        assert by_name[component.name]["purl"] == component.purl
