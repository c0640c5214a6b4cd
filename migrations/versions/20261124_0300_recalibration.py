"""Recalibration: change-control plans, proposals, signatures, releases.

Only adds tables: the version before still works on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003_recalibration"
down_revision = "0002_vigilance"
branch_labels = None
depends_on = None

APPEND_ONLY = ("recalibration_decision", "point_release", "change_plan")


def upgrade() -> None:
    op.create_table(
        "change_plan",
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the document"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column(
            "version", sa.BigInteger(), nullable=False, comment="1, 2, …; the highest is in force"
        ),
        sa.Column(
            "document", sa.LargeBinary(), nullable=False, comment="Canonical JSON of the plan"
        ),
        sa.Column(
            "envelope", sa.LargeBinary(), nullable=False, comment="The same, signed here (DSSE)"
        ),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_change_plan_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_change_plan")),
        sa.UniqueConstraint(
            "lock_digest", "version", name=op.f("uq_change_plan_lock_digest_version")
        ),
    )
    op.create_table(
        "recalibration_proposal",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as RC-0001"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("signal_id", sa.Text(), nullable=False, comment="What triggered it"),
        sa.Column("plan_digest", sa.Text(), nullable=False, comment="Plan"),
        sa.Column(
            "state",
            sa.Enum(
                "refused",
                "failed",
                "submitted",
                "returned",
                "approved",
                name="proposalstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="Where it stands",
        ),
        sa.Column(
            "document", sa.LargeBinary(), nullable=False, comment="Canonical JSON, see proposal.py"
        ),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="SHA-256 of the document: what is signed"
        ),
        sa.Column("proposed_by", sa.Text(), nullable=False, comment="Account name of the author"),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_recalibration_proposal_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_digest"],
            ["change_plan.digest"],
            name=op.f("fk_recalibration_proposal_plan_digest_change_plan"),
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_recalibration_proposal_signal_id_signal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recalibration_proposal")),
    )
    op.create_index(
        op.f("ix_recalibration_proposal_lock_digest"),
        "recalibration_proposal",
        ["lock_digest"],
        unique=False,
    )
    op.create_index(
        op.f("ix_recalibration_proposal_state"), "recalibration_proposal", ["state"], unique=False
    )
    op.create_table(
        "recalibration_decision",
        sa.Column("id", sa.Text(), nullable=False, comment="UUID"),
        sa.Column("proposal_id", sa.Text(), nullable=False, comment="Proposal"),
        sa.Column(
            "action",
            sa.Enum(
                "submit", "approve", "return", name="proposalaction", native_enum=False, length=32
            ),
            nullable=False,
            comment="submit, approve or return",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in the person's words"),
        sa.Column("decided_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column(
            "printed_name", sa.Text(), nullable=False, comment="Name as printed, 21 CFR 11.50(a)(1)"
        ),
        sa.Column(
            "meaning",
            sa.Text(),
            nullable=False,
            comment="Meaning of the signature, 21 CFR 11.50(a)(3)",
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "artefact_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of what was on the screen",
        ),
        sa.Column(
            "signature",
            sa.Text(),
            nullable=False,
            comment="Hex, by the centre's key over this record",
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["recalibration_proposal.id"],
            name=op.f("fk_recalibration_decision_proposal_id_recalibration_proposal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recalibration_decision")),
    )
    op.create_index(
        op.f("ix_recalibration_decision_proposal_id"),
        "recalibration_decision",
        ["proposal_id"],
        unique=False,
    )
    op.create_table(
        "point_release",
        sa.Column("id", sa.Text(), nullable=False, comment="Id of the operating point"),
        sa.Column("proposal_id", sa.Text(), nullable=False, comment="Proposal it carries out"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("site_id", sa.Text(), nullable=False, comment="Where"),
        sa.Column(
            "counter", sa.BigInteger(), nullable=False, comment="Rises by one per site and version"
        ),
        sa.Column(
            "is_rollback",
            sa.Boolean(),
            nullable=False,
            comment="Whether it undoes the release before",
        ),
        sa.Column(
            "point",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The operating point that was signed",
        ),
        sa.Column(
            "envelope", sa.LargeBinary(), nullable=False, comment="The same as signed (DSSE)"
        ),
        sa.Column(
            "effective_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Applied at the edge from then on",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in the person's words"),
        sa.Column("released_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column(
            "printed_name", sa.Text(), nullable=False, comment="Name as printed, 21 CFR 11.50(a)(1)"
        ),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_point_release_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["recalibration_proposal.id"],
            name=op.f("fk_point_release_proposal_id_recalibration_proposal"),
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_point_release_site_id_site")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point_release")),
        sa.UniqueConstraint(
            "lock_digest",
            "site_id",
            "counter",
            name=op.f("uq_point_release_lock_digest_site_id_counter"),
        ),
    )
    op.create_index(
        op.f("ix_point_release_proposal_id"), "point_release", ["proposal_id"], unique=False
    )
    op.create_index(op.f("ix_point_release_site_id"), "point_release", ["site_id"], unique=False)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_index(op.f("ix_point_release_proposal_id"), table_name="point_release")
    op.drop_index(op.f("ix_point_release_site_id"), table_name="point_release")
    op.drop_table("point_release")
    op.drop_index(
        op.f("ix_recalibration_decision_proposal_id"), table_name="recalibration_decision"
    )
    op.drop_table("recalibration_decision")
    op.drop_index(
        op.f("ix_recalibration_proposal_lock_digest"), table_name="recalibration_proposal"
    )
    op.drop_index(op.f("ix_recalibration_proposal_state"), table_name="recalibration_proposal")
    op.drop_table("recalibration_proposal")
    op.drop_table("change_plan")
