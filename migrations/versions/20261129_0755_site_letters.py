"""Letters to sites about signals. Only adds a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0755_site_letters"
down_revision = "0750_sums"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "site_letter",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as L-0001"),
        sa.Column("signal_id", sa.Text(), nullable=False, comment="Signal it is about"),
        sa.Column("site_id", sa.Text(), nullable=False, comment="Whom it is written to"),
        sa.Column(
            "document",
            sa.LargeBinary(),
            nullable=False,
            comment="Canonical JSON of its words, and of the digest of the signal as it was seen",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the document"),
        sa.Column(
            "addresses",
            postgresql.JSONB(),
            nullable=False,
            comment="Mail addresses it was sent to; none: it was printed",
        ),
        sa.Column("sent_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column(
            "printed_name",
            sa.Text(),
            nullable=False,
            comment="Name as printed, 21 CFR 11.50(a)(1)",
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "signature",
            sa.Text(),
            nullable=False,
            comment="Hex, by the centre's key over this record",
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_site_letter_signal_id_signal")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_site_letter_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_letter")),
    )
    op.create_index(op.f("ix_site_letter_signal_id"), "site_letter", ["signal_id"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON site_letter "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_site_letter_signal_id"), table_name="site_letter")
    op.drop_table("site_letter")
