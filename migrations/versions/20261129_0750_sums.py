"""Sums over windows that pages of a whole fleet read. Only adds, and fills nothing.

A worker sums what is stored, some thousand windows a round; until it has, pages read what is
missing from the windows themselves. Evidence that was stored before has no outline: it is read
whole, as it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0750_sums"
down_revision = "0745_kept_days"
branch_labels = None
depends_on = None


def upgrade() -> None:
    name, number = sa.Text(), sa.BigInteger()
    op.create_table(
        "sum_block",
        sa.Column("lock_digest", name, nullable=False, comment="Device version"),
        sa.Column("kind", name, nullable=False, comment="What is summed, by which keys"),
        sa.Column("span", name, nullable=False, comment="day or month"),
        sa.Column("start", sa.Date(), nullable=False, comment="Its first day"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="Keys and sums, compressed"),
        sa.PrimaryKeyConstraint("lock_digest", "kind", "span", "start", name=op.f("pk_sum_block")),
    )
    op.create_table(
        "site_presence",
        sa.Column("lock_digest", name, nullable=False, comment="Device version"),
        sa.Column("site_id", name, nullable=False, comment="Site of the edge at that time"),
        sa.Column(
            "days",
            postgresql.DATEMULTIRANGE(),
            nullable=False,
            comment="Days of acquisition that its windows cover",
        ),
        sa.Column("margins", sa.ARRAY(name), nullable=False, comment="Margins it has ever sent"),
        sa.PrimaryKeyConstraint("lock_digest", "site_id", name=op.f("pk_site_presence")),
    )
    op.create_table(
        "sum_cursor",
        sa.Column("edge_id", name, nullable=False, comment="The edge"),
        sa.Column("epoch", number, nullable=False, comment="Its epoch"),
        sa.Column(
            "summed",
            postgresql.INT8MULTIRANGE(),
            nullable=False,
            comment="Sequence numbers that have been looked at",
        ),
        sa.PrimaryKeyConstraint("edge_id", "epoch", name=op.f("pk_sum_cursor")),
    )
    op.add_column(
        "evaluation",
        sa.Column(
            "outline",
            postgresql.JSONB(),
            nullable=True,
            comment=(
                "What was missing, and where in the evidence the traces of a site lie; null: old"
            ),
        ),
    )


def downgrade() -> None:
    op.drop_column("evaluation", "outline")
    op.drop_table("sum_cursor")
    op.drop_table("site_presence")
    op.drop_table("sum_block")
