from __future__ import annotations

import numpy as np
import pytest
from monitor_builders import a_joint, a_schema

from monitors.errors import DesignError
from monitors.schema import TALLIES, Categorical, Numeric, Schema, Score


def test_the_columns_of_a_row_follow_each_other_without_gap_or_overlap() -> None:
    schema = a_schema()

    for columns in (
        schema.columns,
        schema.moment_columns,
        schema.label_columns,
        schema.sentinel_columns,
        schema.margin_columns,
    ):
        covered = np.concatenate([np.arange(part.start, part.stop) for part in columns.values()])
        assert covered.tolist() == list(range(schema.width(columns)))


def test_a_row_has_a_place_for_every_count() -> None:
    schema = a_schema()
    sizes = {name: part.stop - part.start for name, part in schema.columns.items()}

    assert sizes == {
        "tallies": len(TALLIES),
        "numeric_counts": 2 * (8 + 3),
        "numeric_sums": 2 * 2,
        "categorical_counts": (2 + 2) + (3 + 2),
        "score_counts": 2 * (6 + 1),
        "joint_n": 1,
        "joint_sum": 14,
    }
    assert schema.width(schema.moment_columns) == 2 + 14 * 15 // 2
    assert schema.merged_label_bins == 4


def test_the_blocks_of_the_joint_vector_are_in_their_documented_order() -> None:
    blocks = a_joint().blocks

    assert {name: (part.start, part.stop) for name, part in blocks.items()} == {
        "score": (0, 3),
        "acquisition": (3, 5),
        "acquisition_square": (5, 7),
        "embedding": (7, 10),
        "fourier": (10, 14),
    }


def test_edges_are_kept_apart_from_the_callers_array() -> None:
    edges = np.array([0.0, 1.0, 2.0])

    kept = Numeric("noise", "HU", edges).edges
    edges[1] = 1.5

    assert kept.tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        kept[1] = 9.0


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([0.0, 1.0], "noise: at least 3 edges expected, got 2"),
        ([[0.0, 1.0, 2.0]], "noise: at least 3 edges expected, got 3"),
        ([0.0, 1.0, 1.0], "noise: edges must be finite and strictly increasing"),
        ([0.0, 2.0, 1.0], "noise: edges must be finite and strictly increasing"),
        ([0.0, 1.0, np.inf], "noise: edges must be finite and strictly increasing"),
        ([0.0, np.nan, 1.0], "noise: edges must be finite and strictly increasing"),
    ],
)
def test_edges_that_order_nothing_are_refused(edges: list[float], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        Numeric("noise", "HU", np.array(edges))


@pytest.mark.parametrize("edges", [[0.1, 0.5, 1.0], [0.0, 0.5, 0.9]])
def test_score_edges_cover_every_probability(edges: list[float]) -> None:
    with pytest.raises(DesignError, match="finding: score edges must run from 0 to 1"):
        Score("finding", np.array(edges))


@pytest.mark.parametrize("categories", [(), ("PA", "PA")])
def test_categories_are_present_and_distinct(categories: tuple[str, ...]) -> None:
    with pytest.raises(DesignError, match="view: categories must be present and distinct"):
        Categorical("view", categories)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"omega": np.zeros((4, 2))}, r"omega must have shape \(4, 3\), got \(4, 2\)"),
        ({"centre": np.zeros(3)}, r"centre and scale must have shape \(14,\)"),
        ({"scale": np.ones(3)}, r"centre and scale must have shape \(14,\)"),
        ({"scale": np.zeros(14)}, "every scale must be positive"),
        (
            {
                "omega": np.zeros((119, 3)),
                "phase": np.zeros(119),
                "centre": np.zeros(129),
                "scale": np.ones(129),
            },
            "at most 128 dimensions, got 129",
        ),
    ],
)
def test_a_joint_vector_that_does_not_fit_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DesignError, match=message):
        a_joint(**changes)


def test_a_joint_vector_of_128_dimensions_is_the_largest() -> None:
    largest = a_joint(
        omega=np.zeros((118, 3)), phase=np.zeros(118), centre=np.zeros(128), scale=np.ones(128)
    )

    assert largest.size == 128


NINE = np.linspace(0.0, 1.0, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": ()}, "a schema needs at least one score stage"),
        (
            {"numeric": (Numeric("noise", "HU", NINE), Numeric("kvp", "kV", NINE[:-1]))},
            "all numeric characteristics must have the same number of bins",
        ),
        (
            {"scores": (Score("a", NINE), Score("b", np.array([0.0, 0.5, 1.0])))},
            "all score stages must have the same number of bins",
        ),
        (
            {"categorical": (Categorical("noise", ("PA", "AP")),)},
            "characteristic names must be distinct",
        ),
        ({"label_bins": (0, 1)}, "label_bins: 6 expected, got 2"),
        ({"label_bins": (1, 1, 2, 3, 3, 3)}, "label_bins must start at 0 and rise by 0 or 1"),
        ({"label_bins": (0, 2, 2, 3, 3, 3)}, "label_bins must start at 0 and rise by 0 or 1"),
        ({"label_bins": (0, 1, 0, 1, 2, 3)}, "label_bins must start at 0 and rise by 0 or 1"),
        (
            {"numeric": (Numeric("noise", "HU", NINE),)},
            r"joint moments name unknown characteristics: \['kvp'\]",
        ),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DesignError, match=message):
        a_schema(**changes)


def test_a_schema_without_numeric_characteristics_has_no_numeric_bins() -> None:
    joint = a_joint(acquisition=(), centre=np.zeros(10), scale=np.ones(10))

    schema = a_schema(numeric=(), joint=joint)

    assert isinstance(schema, Schema)
    assert schema.numeric_bins == 0
