"""Awareness, reportability, and how people are told.

Only adds: the version before works on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_vigilance"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("awareness", "reportability_assessment")


def _text(name: str, comment: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def _time(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "awareness",
        _text("id", "UUID"),
        _text("signal_id", "Signal"),
        _text("person", "Account name of who became aware"),
        _time("aware_at", "When, in the person's own word"),
        _text("how", "How, in the person's words"),
        _time("recorded_at", "When it was written here"),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_awareness_signal_id_signal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awareness")),
    )
    op.create_index(op.f("ix_awareness_signal_id"), "awareness", ["signal_id"])
    op.create_table(
        "reportability_assessment",
        _text("id", "UUID"),
        _text("signal_id", "Signal"),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="1, 2, …; the highest holds"),
        sa.Column(
            "document",
            sa.LargeBinary(),
            nullable=False,
            comment="Canonical JSON of the answers: what was signed",
        ),
        _text("artefact_digest", "SHA-256 of the signal document that was on the screen"),
        _text("decided_by", "Account name"),
        _text("printed_name", "Name as printed, 21 CFR 11.50(a)(1)"),
        _time("decided_at", "When"),
        _text("signature", "Hex, by the centre's key over this record"),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_reportability_assessment_signal_id_signal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reportability_assessment")),
        sa.UniqueConstraint(
            "signal_id", "version", name=op.f("uq_reportability_assessment_signal_id_version")
        ),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.add_column(
        "recipient", _text("device", "Only this device, by name; null: all", nullable=True)
    )
    for name, default, comment in (
        ("on_escalation", "false", "Told only when nobody has acknowledged in time"),
        ("wants_digest", "true", "Once a day, what was not worth a mail of its own"),
    ):
        op.add_column(
            "recipient",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=default, comment=comment),
        )
    op.add_column(
        "recipient",
        sa.Column(
            "duty",
            postgresql.JSONB(),
            nullable=True,
            comment="Hours in which mail may come: zone, weekdays, from, to; null: always",
        ),
    )


def downgrade() -> None:
    for name in ("duty", "wants_digest", "on_escalation", "device"):
        op.drop_column("recipient", name)
    for table in reversed(APPEND_ONLY):
        op.drop_table(table)
