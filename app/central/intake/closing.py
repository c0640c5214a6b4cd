"""Whether every balance closes, counted in the database: pages ask it of a thousand edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

PARTS = ("analysed", "quality_rejected", "abstained", "outside_limits", "failed", "waiting")
WORD = "coalesce(sum((c.balance ->> '{}')::numeric), 0)"
CLOSINGS = text(f"""
    SELECT e.id, e.site_id, coalesce(of.produced, 0), coalesce(of.arrived, 0),
           coalesce(aside.windows, 0), coalesce(of.gapless, true), coalesce(of.cases_close, true)
    FROM edge AS e
    LEFT JOIN (
        SELECT c.edge_id, sum(c.produced) AS produced,
               sum((SELECT coalesce(sum(upper(r) - lower(r)), 0)
                    FROM unnest(c.seen) AS r)) AS arrived,
               bool_and(isempty(c.seen)
                        OR c.seen = int8multirange(int8range(1, upper(c.seen)))) AS gapless,
               {WORD.format("received")} = {" + ".join(map(WORD.format, PARTS))} AS cases_close
        FROM edge_cursor AS c GROUP BY c.edge_id
    ) AS of ON of.edge_id = e.id
    LEFT JOIN (
        SELECT a.edge_id, count(*) AS windows FROM arrival AS a
        WHERE a.outcome = 'quarantined' GROUP BY a.edge_id
    ) AS aside ON aside.edge_id = e.id
    WHERE CAST(:scope AS text) IS NULL OR e.site_id = :scope
    ORDER BY e.site_id, e.enrolled_at, e.id LIMIT 10000
""")  # noqa: S608 - every part is a constant of this module


@dataclass(frozen=True, slots=True)
class Closing:
    """The windows of an edge in numbers, and whether its balances close (`EdgeBalance`)."""

    edge_id: str
    site_id: str
    produced: int
    stored: int
    quarantined: int
    on_edge: int
    closes: bool
    cases_close: bool


def closings(session: Session, *, scope: str | None = None) -> Sequence[Closing]:
    """Of every edge, in the order of `balances`."""
    found = session.execute(CLOSINGS, {"scope": scope})
    return [_closing(*row) for row in found]


def _closing(
    edge_id: str,
    site_id: str,
    produced: int,
    arrived: int,
    quarantined: int,
    gapless: bool,
    cases_close: bool,
) -> Closing:
    on_edge = int(produced) - int(arrived)
    return Closing(
        edge_id=edge_id,
        site_id=site_id,
        produced=int(produced),
        stored=int(arrived) - quarantined,
        quarantined=quarantined,
        on_edge=on_edge,
        closes=on_edge >= 0 and gapless,
        cases_close=cases_close,
    )
