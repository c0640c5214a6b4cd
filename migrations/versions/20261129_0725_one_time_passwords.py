"""Accounts: passwords that an administrator gives and the person replaces.

Only adds a column that may be null: the version before still works on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0725_one_time_passwords"
down_revision = "0720_planned_events"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "account",
        sa.Column(
            "password_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="One-time password: replaced at log-in, opens nothing from then on; null: own",
        ),
    )


def downgrade() -> None:
    op.drop_column("account", "password_until")
