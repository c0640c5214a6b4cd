"""Keys that an edge had before its present one, and those it asks for. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0730_edge_keys"
down_revision = "0725_one_time_passwords"
branch_labels = None
depends_on = None

STATES = ("pending", "approved", "refused", "in_use")


def upgrade() -> None:
    when = sa.DateTime(timezone=True)
    op.add_column(
        "edge",
        sa.Column(
            "retired_keys",
            postgresql.JSONB(),
            nullable=False,
            server_default="[]",
            comment=(
                "Keys before it, oldest first: public_key, and the last epoch and sequence of each"
            ),
        ),
    )
    op.create_table(
        "key_change",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="The edge"),
        sa.Column("public_key", sa.Text(), nullable=False, comment="The new key, hex"),
        sa.Column(
            "state",
            sa.Enum(*STATES, name="keystate", native_enum=False, length=32),
            nullable=False,
            comment="pending, approved, refused, in_use",
        ),
        sa.Column("requested_at", when, nullable=False, comment="When it was first asked for"),
        sa.Column("decided_at", when, nullable=True, comment="When a person decided"),
        sa.Column("decided_by", sa.Text(), nullable=True, comment="Account name of that person"),
        sa.Column("switched_at", when, nullable=True, comment="When the edge began to use it"),
        sa.Column("epoch", sa.BigInteger(), nullable=True, comment="Epoch of the switch"),
        sa.Column(
            "last_sequence",
            sa.BigInteger(),
            nullable=True,
            comment="Last sequence of that epoch under the key before",
        ),
        sa.PrimaryKeyConstraint("edge_id", "public_key", name=op.f("pk_key_change")),
    )


def downgrade() -> None:
    op.drop_table("key_change")
    op.drop_column("edge", "retired_keys")
