"""Reports from the request to the issue: states, remarks, signatures, schedules.

The version before still reads issued reports on this schema, and issues none.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_report_lifecycle"
down_revision = "0600_codes_and_tokens"
branch_labels = None
depends_on = None

APPEND_ONLY = ("report_remark", "report_signature")
# What is issued already was neither drafted nor signed here.
BACKFILLED = {
    "state": ("'issued'", "requested, failed, draft, reviewed, issued, superseded or withdrawn"),
    "progress": ("''", "What drafting does now, or why it failed"),
    "requested_by": ("''", "Account name, or the schedule"),
    "supersedes_reason": ("''", "Why; empty where it supersedes none"),
}


def _text(name: str, comment: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def _kind(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), nullable=False, comment=comment)


def _time(name: str, comment: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def upgrade() -> None:
    op.create_table(
        "report_schedule",
        _text("id", "Such as RS-0001"),
        _text("device", "Device, by name"),
        _kind("frequency", "daily, weekly, monthly or quarterly"),
        _text("recipients", "Name of the group, such as Hospital H01"),
        sa.Column(
            "addresses",
            postgresql.JSONB(),
            nullable=False,
            comment="Mail addresses told of an issued report",
        ),
        sa.Column(
            "with_evidently",
            sa.Boolean(),
            nullable=False,
            comment="Whether Evidently's report is kept too",
        ),
        _text("added_by", "Account name"),
        _time("added_at", "When"),
        _text("ended_by", "Account name of who ended it", nullable=True),
        _time("ended_at", "Asks for nothing from then on", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_schedule")),
    )
    _extend_report()
    for name, columns in _SIGNED.items():
        op.create_table(
            name,
            _text("id", "UUID"),
            _text("number", "Report"),
            *columns(),
            sa.ForeignKeyConstraint(
                ["number"], ["report.number"], name=op.f(f"fk_{name}_number_report")
            ),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        )
        op.create_index(op.f(f"ix_{name}_number"), name, ["number"])
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _remark() -> tuple[sa.Column[Any], ...]:
    return (
        _text("section", "Title of the section"),
        _text("text", "As written"),
        _text("written_by", "Account name"),
        _text("printed_name", "Name as printed"),
        _time("written_at", "When"),
    )


def _signature() -> tuple[sa.Column[Any], ...]:
    return (
        _kind("meaning", "review, approval or withdrawal"),
        _text("reason", "Of a withdrawal"),
        _text(
            "content_digest",
            "SHA-256 of the canonical content, without status and signatures",
        ),
        _text("signed_by", "Account name"),
        _text("printed_name", "Name as printed, 21 CFR 11.50(a)(1)"),
        _time("signed_at", "When"),
        _text("signature", "Hex, by the centre's key over this record"),
    )


_SIGNED = {"report_remark": _remark, "report_signature": _signature}


def _extend_report() -> None:
    for name, (default, comment) in BACKFILLED.items():
        column = _kind(name, comment) if name == "state" else _text(name, comment)
        column.server_default = sa.DefaultClause(sa.text(default))
        op.add_column("report", column)
        op.alter_column("report", name, server_default=None)
    op.add_column("report", _time("requested_at", "When", nullable=True))
    op.execute("UPDATE report SET requested_at = issued_at, requested_by = issued_by")
    op.alter_column("report", "requested_at", nullable=False)
    added: tuple[sa.Column[Any], ...] = (
        _time("lease_until", "Database time; a worker drafts it until then", nullable=True),
        _text("schedule_id", "Whose group is told; null: nobody", nullable=True),
        _text("supersedes", "The issued report it takes the place of", nullable=True),
        sa.Column(
            "evidently",
            sa.LargeBinary(),
            nullable=True,
            comment="Evidently's report on the same windows, HTML, zstd",
        ),
    )
    for extra in added:
        op.add_column("report", extra)
    for name in ("html", "pdf"):
        op.alter_column("report", name, comment="As issued, or as it stands")
    op.alter_column("report", "issued_by", nullable=True, comment="Account name; null until issued")
    op.alter_column("report", "issued_at", nullable=True, comment="When; null until issued")
    op.create_index(op.f("ix_report_state"), "report", ["state"])
    for own, target, key in (
        ("schedule_id", "report_schedule", "id"),
        ("supersedes", "report", "number"),
    ):
        name = op.f(f"fk_report_{own}_{target}")
        op.create_foreign_key(name, "report", target, [own], [key])


def downgrade() -> None:
    for name in reversed(APPEND_ONLY):
        op.drop_table(name)
    op.execute("DELETE FROM report WHERE issued_at IS NULL")
    for column, target in (("schedule_id", "report_schedule"), ("supersedes", "report")):
        op.drop_constraint(op.f(f"fk_report_{column}_{target}"), "report", type_="foreignkey")
    op.drop_index(op.f("ix_report_state"), "report")
    for name in ("lease_until", "schedule_id", "supersedes", "evidently", "requested_at"):
        op.drop_column("report", name)
    for name in reversed(BACKFILLED):
        op.drop_column("report", name)
    for name, comment in (("issued_by", "Account name"), ("issued_at", "When")):
        op.alter_column("report", name, nullable=False, comment=comment)
    for name in ("html", "pdf"):
        op.alter_column("report", name, comment="As issued")
    op.drop_table("report_schedule")
