"""What is written down about a signal: a site's answer, a file number. Only adds a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0760_signal_notes"
down_revision = "0755_site_letters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signal_note",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as N-0001"),
        sa.Column("signal_id", sa.Text(), nullable=False, comment="Signal it is about"),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="answer: of a site; file: number of a CAPA or complaint file",
        ),
        sa.Column("site_id", sa.Text(), nullable=True, comment="Whose answer it is"),
        sa.Column("text", sa.Text(), nullable=False, comment="The answer, or the file number"),
        sa.Column("noted_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column(
            "printed_name",
            sa.Text(),
            nullable=False,
            comment="Name as printed, 21 CFR 11.50(a)(1)",
        ),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "signature",
            sa.Text(),
            nullable=False,
            comment="Hex, by the centre's key over this record",
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_signal_note_signal_id_signal")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_signal_note_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signal_note")),
    )
    op.create_index(op.f("ix_signal_note_signal_id"), "signal_note", ["signal_id"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signal_note "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_signal_note_signal_id"), table_name="signal_note")
    op.drop_table("signal_note")
