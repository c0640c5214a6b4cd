"""Every row of the fault catalogue has its tests, and those of this folder end in the balance."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CATALOGUE = tomllib.loads((HERE / "catalogue.toml").read_text())
ROWS = {"E": 24, "B": 10, "L": 18, "C": 16, "S": 14, "A": 10}
# Each of these ends in the balance when the test does.
BALANCED = {"world", "committed", "own_server", "impatient", "served", "edge"}
ENDS = {"assert_balance", "assert_ledger", "brought_to", "closes"}
WITHOUT_EDGES = {
    "test_c13_of_several_processes_that_migrate_at_once_one_does_it": "its databases are empty",
    "test_s14_an_edge_whose_centre_is_silent_says_so_on_its_own_page": "nothing reaches a centre",
}


@cache
def functions(path: str) -> dict[str, ast.FunctionDef | ast.Assign]:
    """Every function of a file below `tests`, and every state machine; none if there is no file."""
    file = HERE.parent / path
    body = ast.parse(file.read_text()).body if file.exists() else []
    found: dict[str, ast.FunctionDef | ast.Assign] = {
        f.name: f for f in body if isinstance(f, ast.FunctionDef)
    }
    machines = [a for a in body if isinstance(a, ast.Assign) and _is_machine(a)]
    return found | {ast.unparse(a.targets[0]): a for a in machines}


def _is_machine(assigned: ast.Assign) -> bool:
    """`TestX = X.TestCase`, as Hypothesis runs a `RuleBasedStateMachine`."""
    return isinstance(assigned.value, ast.Attribute) and assigned.value.attr == "TestCase"


def function(test: str) -> ast.FunctionDef | ast.Assign | None:
    """The test, `folder/file.py::name` below `tests`, or None."""
    path, _, name = test.partition("::")
    return functions(path).get(name)


def test_the_list_holds_every_row() -> None:
    assert sorted(CATALOGUE) == sorted(
        f"{t}{n}" for t, last in ROWS.items() for n in range(1, last + 1)
    )


@pytest.mark.parametrize("row", CATALOGUE)
def test_a_row_has_a_test_that_is_there(row: str) -> None:
    tests = CATALOGUE[row]["tests"]

    assert tests
    assert [t for t in tests if function(t) is None] == []


@pytest.mark.parametrize(
    "test",
    sorted({t for row in CATALOGUE.values() for t in row["tests"] if t.startswith("faults/")}),
)
def test_a_fault_ends_in_the_balance(test: str) -> None:
    found = function(test)
    assert isinstance(found, ast.FunctionDef)
    fixtures = {argument.arg for argument in found.args.args}
    words = {n.id for n in ast.walk(found) if isinstance(n, ast.Name)}

    ends_in_it = fixtures & BALANCED or words & ENDS
    assert ends_in_it or found.name in WITHOUT_EDGES
