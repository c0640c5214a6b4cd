"""After a change: comparisons at the pre-set number of cases, and freshly labelled holdouts.

Only adds tables: the version before still works on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_after_a_change"
down_revision = "0003_recalibration"
branch_labels = None
depends_on = None

APPEND_ONLY = ("post_change_comparison", "holdout_evaluation")


def upgrade() -> None:
    op.create_table(
        "post_change_comparison",
        sa.Column("point_id", sa.Text(), nullable=False, comment="Release that was watched"),
        sa.Column(
            "document", sa.LargeBinary(), nullable=False, comment="Canonical JSON, see watch.py"
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the document"),
        sa.Column(
            "is_as_expected", sa.Boolean(), nullable=False, comment="Whether the intervals meet"
        ),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["point_id"],
            ["point_release.id"],
            name=op.f("fk_post_change_comparison_point_id_point_release"),
        ),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_post_change_comparison")),
    )
    op.create_table(
        "holdout_evaluation",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as HO-0001"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the record"),
        sa.Column(
            "document", sa.LargeBinary(), nullable=False, comment="Canonical JSON of the record"
        ),
        sa.Column("envelope", sa.LargeBinary(), nullable=False, comment="As it was signed (DSSE)"),
        sa.Column("verdict", sa.Text(), nullable=False, comment="Of the record"),
        sa.Column(
            "evaluated_at", sa.DateTime(timezone=True), nullable=False, comment="When it was run"
        ),
        sa.Column("received_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_holdout_evaluation_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holdout_evaluation")),
        sa.UniqueConstraint("digest", name=op.f("uq_holdout_evaluation_digest")),
    )
    op.create_index(
        op.f("ix_holdout_evaluation_lock_digest"),
        "holdout_evaluation",
        ["lock_digest"],
        unique=False,
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_index(op.f("ix_holdout_evaluation_lock_digest"), table_name="holdout_evaluation")
    op.drop_table("holdout_evaluation")
    op.drop_table("post_change_comparison")
