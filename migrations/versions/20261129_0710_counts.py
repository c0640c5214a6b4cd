"""What pages read instead of windows: cases by day, the end of each edge's data, words by site.

Everything new is filled here from what is stored; intake waits meanwhile (edges send again), about
a minute per 400,000 windows. A service of the version before that goes on running on this schema
stores windows without counting them: stop it, or run `lockwatch central recount` afterwards.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
import zstandard
from alembic import op
from sqlalchemy.dialects import postgresql

from app.contracts.window import decode

revision = "0710_counts"
down_revision = "0601_alarm_tests"
branch_labels = None
depends_on = None

BLOCKS = ("acquisition", "score", "embedding", "labels")
ANALYSED, FLAGGED = 0, 1  # columns of a stratum's row, contract v1
EVALUATION_HOUR = 6  # UTC
WINDOWS = sa.text("""
    SELECT w.edge_id, w.lock_digest, w.site_id, w.received_at, w.raw, edge.public_key
    FROM stored_window AS w JOIN edge ON edge.id = w.edge_id WHERE w.stream = 'cases'
""")
COUNT = sa.text("""
    INSERT INTO case_count (edge_id, start, "end", lock_digest, arrival, site_id,
                            analysed, flagged)
    VALUES (:edge_id, :start, :end, :lock_digest, :arrival, :site_id, :analysed, :flagged)
    ON CONFLICT (edge_id, start, "end", lock_digest, arrival, site_id) DO UPDATE SET
        analysed = case_count.analysed + excluded.analysed,
        flagged = case_count.flagged + excluded.flagged
""")
ENDS = """
    UPDATE edge_cursor AS cursor SET cases_end = known.at
    FROM (SELECT edge_id, epoch, max("end") AS at FROM arrival
          WHERE outcome = 'stored' AND stream = 'cases' GROUP BY edge_id, epoch) AS known
    WHERE cursor.edge_id = known.edge_id AND cursor.epoch = known.epoch
"""


def upgrade() -> None:
    op.execute("LOCK TABLE stored_window, arrival, edge_cursor IN SHARE ROW EXCLUSIVE MODE")
    _table()
    op.add_column(
        "edge_cursor",
        sa.Column(
            "cases_end",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="End of the newest stored window of cases; null: none yet",
        ),
    )
    op.add_column(
        "evaluation",
        sa.Column(
            "standing",
            postgresql.JSONB(),
            nullable=True,
            comment="Of the evidence, what the fleet's pages say: words by site and block",
        ),
    )
    op.create_index(
        "ix_arrival_quarantined",
        "arrival",
        ["edge_id", "reason"],
        postgresql_where=sa.text("outcome = 'quarantined'"),
    )
    op.execute(ENDS)
    _fill_counts(op.get_bind())
    _fill_standings(op.get_bind())
    op.alter_column("evaluation", "standing", nullable=False)


def _table() -> None:
    text, day, number = sa.Text(), sa.Date(), sa.BigInteger()
    op.create_table(
        "case_count",
        sa.Column("edge_id", text, nullable=False, comment="The edge"),
        sa.Column("start", day, nullable=False, comment="First day of acquisition"),
        sa.Column("end", day, nullable=False, comment="The day after the last"),
        sa.Column("lock_digest", text, nullable=False, comment="Device version"),
        sa.Column(
            "arrival",
            day,
            nullable=False,
            comment="Day of the first evaluation that sees the windows",
        ),
        sa.Column("site_id", text, nullable=False, comment="Site of the edge at that time"),
        sa.Column("analysed", number, nullable=False, comment="Cases analysed"),
        sa.Column("flagged", number, nullable=False, comment="Cases flagged among them"),
        sa.PrimaryKeyConstraint(
            *("edge_id", "start", "end", "lock_digest", "arrival", "site_id"),
            name=op.f("pk_case_count"),
        ),
    )
    op.create_index("ix_case_count_lock_digest_start", "case_count", ["lock_digest", "start"])


def _fill_counts(connection: sa.Connection) -> None:
    found = connection.execute(WINDOWS, execution_options={"yield_per": 2000})
    for some in found.partitions():
        rows = [row for window in some for row in _rows(window)]
        if rows:
            connection.execute(COUNT, rows)


def _rows(window: Any) -> list[dict[str, Any]]:
    strata = decode(window.raw, bytes.fromhex(window.public_key)).tables.get("strata")
    sums: dict[tuple[str, str], Counter[str]] = {}
    for key, row in zip(strata.keys, strata.values, strict=True) if strata else ():
        mine = sums.setdefault((key[0], key[1]), Counter())
        mine.update(analysed=int(row[ANALYSED]), flagged=int(row[FLAGGED]))
    arrived = (window.received_at - timedelta(hours=EVALUATION_HOUR)).date() + timedelta(days=1)
    return [
        {
            "edge_id": window.edge_id,
            "start": date.fromisoformat(start),
            "end": date.fromisoformat(end),
            "lock_digest": window.lock_digest,
            "arrival": arrived,
            "site_id": window.site_id,
            **counts,
        }
        for (start, end), counts in sums.items()
    ]


def _fill_standings(connection: sa.Connection) -> None:
    known = connection.execute(sa.text("SELECT input_digest FROM evaluation")).scalars().all()
    read = sa.text("SELECT evidence FROM evaluation WHERE input_digest = :digest")
    write = sa.text(
        "UPDATE evaluation SET standing = CAST(:standing AS jsonb) WHERE input_digest = :digest"
    )
    for digest in known:
        evidence = connection.execute(read, {"digest": digest}).scalar_one()
        standing = json.dumps(_standing(evidence))
        connection.execute(write, {"digest": digest, "standing": standing})


def _standing(evidence: bytes) -> dict[str, Any]:
    # A version after this one parts evidence into frames; a downgrade may leave such behind.
    frames = zstandard.ZstdDecompressor().stream_reader(evidence, read_across_frames=True)
    found = json.loads(frames.read())
    blocks: dict[str, dict[str, str]] = {}
    for trace in found["traces"]:
        if trace["site"] and trace["block"] in BLOCKS and trace["days"]:
            words = blocks.setdefault(trace["site"], {})
            is_near = trace["statistic"][-1] >= trace["warning"]
            words[trace["block"]] = "warning" if is_near else words.get(trace["block"], "quiet")
    return {"blocks": blocks, "assessability": found["assessability"]}


def downgrade() -> None:
    op.drop_index("ix_arrival_quarantined", "arrival")
    op.drop_column("evaluation", "standing")
    op.drop_column("edge_cursor", "cases_end")
    op.drop_table("case_count")
