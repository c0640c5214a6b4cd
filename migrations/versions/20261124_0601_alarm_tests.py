"""Alarm tests: a known change in a copy, and whether it was found. Only adds a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0601_alarm_tests"
down_revision = "0005_report_lifecycle"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm_test",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as A-0001"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("reference_id", sa.Text(), nullable=False, comment="Reference"),
        sa.Column("plan_digest", sa.Text(), nullable=False, comment="Plan"),
        sa.Column(
            "upto", sa.Date(), nullable=False, comment="Windows that had arrived by this day"
        ),
        sa.Column(
            "site_id",
            sa.Text(),
            nullable=False,
            comment="Whose windows were copied; empty: none could be",
        ),
        sa.Column(
            "shift_sd",
            sa.Double(),
            nullable=False,
            comment="Scores moved by so many reference SD",
        ),
        sa.Column(
            "outcome",
            sa.Enum(
                "found", "missed", "not_possible", name="alarmoutcome", native_enum=False, length=32
            ),
            nullable=False,
            comment="found, missed or not_possible",
        ),
        sa.Column(
            "days_to_signal",
            sa.BigInteger(),
            nullable=True,
            comment="From the first changed window's arrival to the signal",
        ),
        sa.Column(
            "stream", sa.Text(), nullable=False, comment="What raised it; empty if nothing did"
        ),
        sa.Column(
            "ran_by", sa.Text(), nullable=False, comment="Account name, or lockwatch on schedule"
        ),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_alarm_test_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_digest"],
            ["surveillance_plan.digest"],
            name=op.f("fk_alarm_test_plan_digest_surveillance_plan"),
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["reference.id"],
            name=op.f("fk_alarm_test_reference_id_reference"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm_test")),
    )
    op.create_index(op.f("ix_alarm_test_lock_digest"), "alarm_test", ["lock_digest"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alarm_test "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_alarm_test_lock_digest"), table_name="alarm_test")
    op.drop_table("alarm_test")
