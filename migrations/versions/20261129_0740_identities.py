"""Sessions say which browser they are of. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0740_identities"
down_revision = "0730_edge_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "login_session",
        sa.Column(
            "client",
            sa.Text(),
            nullable=False,
            server_default="",
            comment="User-Agent of the browser, as it called itself at log-in",
        ),
    )


def downgrade() -> None:
    op.drop_column("login_session", "client")
