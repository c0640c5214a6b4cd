"""What arrived on each day, as the engine looks at it: no window is decoded twice. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0745_kept_days"
down_revision = "0740_identities"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_day",
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column(
            "day",
            sa.Date(),
            nullable=False,
            comment="Day of the first evaluation that sees the windows",
        ),
        sa.Column("windows", sa.BigInteger(), nullable=False, comment="How many windows it holds"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the content"),
        sa.Column(
            "content",
            sa.LargeBinary(),
            nullable=False,
            comment="Their rows, packed (app/central/surveillance/arrivals.py)",
        ),
        sa.PrimaryKeyConstraint("lock_digest", "day", name=op.f("pk_kept_day")),
    )


def downgrade() -> None:
    op.drop_table("kept_day")
