"""Identities at an identity provider, and sign-ins that are under way there. Only adds."""

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
    op.add_column(
        "login_session",
        sa.Column(
            "opened_with",
            sa.Enum("password", "provider", name="openedwith", native_enum=False, length=32),
            nullable=False,
            server_default="password",
            comment="password or provider",
        ),
    )
    when = sa.DateTime(timezone=True)
    op.create_table(
        "account_identity",
        sa.Column("issuer", sa.Text(), nullable=False, comment="Issuer identifier, as compared"),
        sa.Column("subject", sa.Text(), nullable=False, comment="`sub`, unique at the issuer"),
        sa.Column("account", sa.Text(), nullable=False, comment="Whose identity"),
        sa.Column("linked_at", when, nullable=False, comment="When"),
        sa.Column(
            "linked_by", sa.Text(), nullable=False, comment="Account name of the administrator"
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_account_identity")),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_account_identity_account_account")
        ),
        sa.UniqueConstraint("account", name=op.f("uq_account_identity_account")),
    )
    op.create_table(
        "provider_request",
        sa.Column("state_hash", sa.Text(), nullable=False, comment="SHA-256 of `state`"),
        sa.Column(
            "browser_hash",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the cookie of the browser",
        ),
        sa.Column("nonce", sa.Text(), nullable=False, comment="What the token must repeat"),
        sa.Column("verifier", sa.Text(), nullable=False, comment="PKCE code verifier"),
        sa.Column("then", sa.Text(), nullable=False, comment="Path where the person was going"),
        sa.Column("expires_at", when, nullable=False, comment="Means nothing from then on"),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_provider_request")),
    )


def downgrade() -> None:
    op.drop_table("provider_request")
    op.drop_table("account_identity")
    op.drop_column("login_session", "opened_with")
    op.drop_column("login_session", "client")
