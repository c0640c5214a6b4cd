"""Planned events and the decisions on them. Only adds tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0720_planned_events"
down_revision = "0710_counts"
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {} "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
)


def word(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, length=32)


def column(name: str, kind: sa.types.TypeEngine[Any], comment: str) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, comment=comment)


KINDS = ("service", "protocol_change", "software_update", "replaced_part", "other")
VERDICTS = ("new_stage", "annotation_only")


def upgrade() -> None:
    when = sa.DateTime(timezone=True)
    op.create_table(
        "planned_event",
        column("id", sa.Text(), "Such as E-0001"),
        column("lock_digest", sa.Text(), "Device version"),
        column("site_id", sa.Text(), "Where"),
        column("scanner", sa.Text(), "Scanner's pseudonym; empty: every one there"),
        column("kind", word("eventkind", *KINDS), "What was done"),
        column("first_day", sa.Date(), "First day, by the site's calendar"),
        column("last_day", sa.Date(), "Last day, inclusive"),
        column("description", sa.Text(), "In a person's words, about no patient"),
        column("registered_by", sa.Text(), "Account name"),
        column("registered_at", when, "When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_planned_event_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_planned_event_site_id_site")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planned_event")),
    )
    op.create_index(op.f("ix_planned_event_lock_digest"), "planned_event", ["lock_digest"])
    op.create_table(
        "event_decision",
        column("event_id", sa.Text(), "Event"),
        column("verdict", word("eventverdict", *VERDICTS), "new_stage or annotation_only"),
        column("reason", sa.Text(), "Why, in the person's words"),
        column("decided_by", sa.Text(), "Account name"),
        column("printed_name", sa.Text(), "Name as printed, 21 CFR 11.50(a)(1)"),
        column("meaning", sa.Text(), "Meaning of the signature, 21 CFR 11.50(a)(3)"),
        column("decided_at", when, "When"),
        column("artefact_digest", sa.Text(), "SHA-256 of the event as registered"),
        column("signature", sa.Text(), "Hex, by the centre's key over this record"),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["planned_event.id"],
            name=op.f("fk_event_decision_event_id_planned_event"),
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_decision")),
    )
    for table in ("planned_event", "event_decision"):
        op.execute(APPEND_ONLY.format(table))


def downgrade() -> None:
    op.drop_table("event_decision")
    op.drop_index(op.f("ix_planned_event_lock_digest"), table_name="planned_event")
    op.drop_table("planned_event")
