"""Accounts: one-time codes and API tokens.

Only adds a table and columns that may be null: the version before still works on this schema.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0600_codes_and_tokens"
down_revision = "0004_after_a_change"
branch_labels = None
depends_on = None

COLUMNS: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "code_secret": (sa.Text(), "Base32 secret of the one-time codes; null: none are set up"),
    "codes_since": (
        sa.DateTime(timezone=True),
        "Log-in asks for a code from then on; null: not confirmed",
    ),
    "last_code_step": (
        sa.BigInteger(),
        "Time step of the last code; none up to it is taken again",
    ),
}


def upgrade() -> None:
    for name, (kind, comment) in COLUMNS.items():
        op.add_column("account", sa.Column(name, kind, nullable=True, comment=comment))
    when = sa.DateTime(timezone=True)
    op.create_table(
        "api_token",
        sa.Column("id", sa.Text(), nullable=False, comment="UUID"),
        sa.Column("token_hash", sa.Text(), nullable=False, comment="SHA-256 of the token"),
        sa.Column("account", sa.Text(), nullable=False, comment="Whose token"),
        sa.Column("purpose", sa.Text(), nullable=False, comment="What for, in the person's words"),
        sa.Column("created_at", when, nullable=False, comment="When"),
        sa.Column("expires_at", when, nullable=False, comment="Means nothing from then on"),
        sa.Column("last_used_at", when, nullable=True, comment="To the minute"),
        sa.Column("revoked_at", when, nullable=True, comment="Means nothing since"),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_api_token_account_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
    )
    op.create_index(op.f("ix_api_token_account"), "api_token", ["account"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_api_token_account"), table_name="api_token")
    op.drop_table("api_token")
    for name in reversed(COLUMNS):
        op.drop_column("account", name)
