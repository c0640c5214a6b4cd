"""Rules of the house that no linter knows. Each has been seen to fail once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("app", "monitors", "dashboards", "migrations")


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_only_the_clock_asks_the_system_for_the_time() -> None:
    asks = re.compile(r"(^|\.)(datetime\.(now|utcnow|today)|date\.today|time\.time)$")

    found = [
        f"{path}:{line}"
        for path, tree in modules(*CODE)
        if path != Path("app/clock.py")
        for name, line in calls(tree)
        if asks.search(name)
    ]

    assert found == []


def test_nothing_is_rounded_inside_a_statistic() -> None:
    # Fixed point is not rounding of a statistic: numpy.rint makes integers of phi at the edge.
    found = [
        f"{path}:{line}"
        for path, tree in modules("monitors")
        for name, line in calls(tree)
        if name in {"round", "np.round", "numpy.round", "np.around"}
    ]

    assert found == []


def test_only_settings_and_the_clock_read_the_environment() -> None:
    allowed = re.compile(r"(^|/)(settings|clock)\.py$")

    found = [
        f"{path}:{node.lineno}"
        for path, tree in modules(*CODE)
        if not allowed.search(path.as_posix())
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in {"os.environ", "environ", "os.getenv"}
        and isinstance(node.ctx, ast.Load)
    ]

    # The demonstration and child processes pass the environment on; nothing else may look at it.
    assert [f for f in found if not f.startswith(("app/lab/demo", "app/central/embedded_"))] == []


def test_pages_and_mail_name_no_absolute_address() -> None:
    address = re.compile(r"https?://(?!www\.w3\.org/)")

    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "dashboards").rglob("*")
        if path.suffix in {".html", ".css", ".js", ".txt"} and "vendor" not in path.parts
        if address.search(path.read_text())
    ]

    assert found == []


def test_no_work_is_left_as_a_note() -> None:
    # Spelt apart, so that this file does not find itself.
    marks = re.compile(r"#\s*(TO" + "DO|FIX" + "ME|XX" + "X)")

    found = [
        str(path) for path, _ in modules(*CODE, "tests") if marks.search((ROOT / path).read_text())
    ]

    assert found == []


def test_functions_stay_short() -> None:
    lengths = [
        (sum(b.end_lineno - b.lineno + 1 for b in body_of(node)), f"{path}:{node.lineno}")
        for path, tree in modules("app", "monitors", "dashboards")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths.sort()

    assert lengths[len(lengths) // 2][0] <= 10, "median body"
    assert lengths[int(len(lengths) * 0.95)][0] <= 40, lengths[int(len(lengths) * 0.95) :]
    assert lengths[-1][0] <= 80, lengths[-3:]


def body_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    has_docstring = ast.get_docstring(node) is not None
    return node.body[1:] if has_docstring else node.body


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("app.edge.agent", {"fastapi", "sqlalchemy", "plotly", "evidently", "app.central"}),
        ("app.central.web", {"torch", "pydicom", "pynetdicom", "evidently", "app.edge"}),
        ("dashboards.web", {"torch", "pydicom", "evidently"}),
        ("monitors.engine", {"app", "dashboards", "pandas", "torch", "pydantic"}),
    ],
)
def test_a_part_starts_without_what_it_must_not_carry(module: str, forbidden: set[str]) -> None:
    script = f"import sys, {module}; print(*sorted(sys.modules))"

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert {name for name in loaded if name in forbidden} == set()


def test_every_decision_and_page_of_the_docs_is_listed() -> None:
    index = (ROOT / "docs" / "README.md").read_text()

    pages = [p for p in (ROOT / "docs").rglob("*.md") if p.name != "README.md"]
    assert pages
    missing = [str(p.relative_to(ROOT / "docs")) for p in pages]
    assert [m for m in missing if m not in index] == []
