"""First tables.

Expand first, contract in a later release: the version before must still work on this schema.
Stored statistics are never changed here; new ones get a new method version.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = ("audit_entry", "decision")
REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def upgrade() -> None:
    op.execute(REFUSE)
    op.create_table(
        "arrival",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="The edge"),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="Its epoch"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="In the epoch"),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="Names the window: SHA-256 over its header"
        ),
        sa.Column(
            "content_digest", sa.Text(), nullable=False, comment="SHA-256 of the exact bytes"
        ),
        sa.Column(
            "outcome",
            sa.Enum("stored", "quarantined", name="outcome", native_enum=False, length=32),
            nullable=False,
            comment="stored or quarantined",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why quarantined; empty if stored"),
        sa.Column(
            "stream", sa.Text(), nullable=False, comment="cases, moments, labels, sentinel, …"
        ),
        sa.Column(
            "start", sa.DateTime(timezone=True), nullable=False, comment="Start of the window"
        ),
        sa.Column(
            "end",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="End of the window, exclusive",
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="When it arrived"
        ),
        sa.PrimaryKeyConstraint("edge_id", "epoch", "sequence", name=op.f("pk_arrival")),
    )
    op.create_table(
        "audit_entry",
        sa.Column(
            "sequence",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="1, 2, … without gaps",
        ),
        sa.Column("previous", sa.Text(), nullable=False, comment="Hash of the entry before"),
        sa.Column(
            "hash", sa.Text(), nullable=False, comment="SHA-256 of domain, previous and body"
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="Canonical JSON of the entry"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When, for queries; also in the body",
        ),
        sa.Column("actor", sa.Text(), nullable=False, comment="Who, for queries; also in the body"),
        sa.Column(
            "action", sa.Text(), nullable=False, comment="What, for queries; also in the body"
        ),
        sa.Column("subject", sa.Text(), nullable=False, comment="On what; also in the body"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_entry_hash")),
        sa.UniqueConstraint("previous", name=op.f("uq_audit_entry_previous")),
    )
    op.create_index(op.f("ix_audit_entry_action"), "audit_entry", ["action"], unique=False)
    op.create_index(op.f("ix_audit_entry_subject"), "audit_entry", ["subject"], unique=False)
    op.create_table(
        "device_version",
        sa.Column(
            "lock_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the canonical manifest: names the device version",
        ),
        sa.Column("device", sa.Text(), nullable=False, comment="Device name from the manifest"),
        sa.Column("udi_di", sa.Text(), nullable=False, comment="UDI device identifier"),
        sa.Column(
            "version", sa.Text(), nullable=False, comment="Version as the manufacturer writes it"
        ),
        sa.Column(
            "release_counter",
            sa.BigInteger(),
            nullable=False,
            comment="Rises with every release of the device; guards against rollback",
        ),
        sa.Column(
            "schema_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the characteristic schema that its windows follow",
        ),
        sa.Column(
            "manifest", sa.LargeBinary(), nullable=False, comment="Exact canonical manifest bytes"
        ),
        sa.Column(
            "envelope",
            sa.LargeBinary(),
            nullable=False,
            comment="Exact DSSE envelope as registered",
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was registered here",
        ),
        sa.Column("registered_by", sa.Text(), nullable=False, comment="Account name of the person"),
        sa.PrimaryKeyConstraint("lock_digest", name=op.f("pk_device_version")),
        sa.UniqueConstraint(
            "device", "release_counter", name=op.f("uq_device_version_device_release_counter")
        ),
    )
    op.create_index(
        op.f("ix_device_version_schema_digest"), "device_version", ["schema_digest"], unique=False
    )
    op.create_table(
        "edge_cursor",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="The edge"),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="Its epoch"),
        sa.Column(
            "seen",
            postgresql.INT8MULTIRANGE(),
            nullable=False,
            comment="Sequence numbers stored or quarantined",
        ),
        sa.Column(
            "produced",
            sa.BigInteger(),
            nullable=False,
            comment="Windows produced, by the edge's own newest word",
        ),
        sa.Column(
            "balance",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Its newest case balance, by name",
        ),
        sa.Column(
            "balance_sequence",
            sa.BigInteger(),
            nullable=False,
            comment="Sequence of the window that carried the balance",
        ),
        sa.PrimaryKeyConstraint("edge_id", "epoch", name=op.f("pk_edge_cursor")),
    )
    op.create_table(
        "job_plan",
        sa.Column("job", sa.Text(), nullable=False, comment="Name of the job"),
        sa.Column(
            "planned_to",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Every due time up to here has a run",
        ),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_plan")),
    )
    op.create_table(
        "job_run",
        sa.Column("job", sa.Text(), nullable=False, comment="Name of the job"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, comment="When it was due"),
        sa.Column(
            "state",
            sa.Enum(
                "due", "running", "done", "failed", name="runstate", native_enum=False, length=32
            ),
            nullable=False,
            comment="due, running, done or failed",
        ),
        sa.Column(
            "owner", sa.Text(), nullable=False, comment="Worker that holds it; empty if none"
        ),
        sa.Column(
            "attempts",
            sa.BigInteger(),
            nullable=False,
            comment="Claims so far; fences late workers",
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Database time; then reclaimed",
        ),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Database time of the next attempt",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it was done"
        ),
        sa.Column("last_error", sa.Text(), nullable=False, comment="Kind of the last failure"),
        sa.PrimaryKeyConstraint("job", "due_at", name=op.f("pk_job_run")),
    )
    op.create_index(op.f("ix_job_run_state"), "job_run", ["state"], unique=False)
    op.create_table(
        "outbox_mail",
        sa.Column("id", sa.Text(), nullable=False, comment="UUID; part of the Message-ID"),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="Such as signal:S-0001; one mail a cause and person",
        ),
        sa.Column("recipient", sa.Text(), nullable=False, comment="Mail address"),
        sa.Column("subject", sa.Text(), nullable=False, comment="For display"),
        sa.Column("message_id", sa.Text(), nullable=False, comment="Message-ID header"),
        sa.Column(
            "message", sa.LargeBinary(), nullable=False, comment="The exact bytes that are sent"
        ),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "sending",
                "sent",
                "uncertain",
                "dead",
                name="mailstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="Where it stands",
        ),
        sa.Column("attempts", sa.BigInteger(), nullable=False, comment="Deliveries tried"),
        sa.Column(
            "queued_at", sa.DateTime(timezone=True), nullable=False, comment="When it was caused"
        ),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), nullable=False, comment="Not tried before"
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Database time; then reclaimed",
        ),
        sa.Column("last_error", sa.Text(), nullable=False, comment="What the last attempt met"),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), nullable=True, comment="When it was accepted"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_mail")),
        sa.UniqueConstraint("cause", "recipient", name=op.f("uq_outbox_mail_cause_recipient")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_mail_message_id")),
    )
    op.create_index(op.f("ix_outbox_mail_state"), "outbox_mail", ["state"], unique=False)
    op.create_table(
        "quarantined_content",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="Who sent it, authenticated"),
        sa.Column("content_digest", sa.Text(), nullable=False, comment="SHA-256 of the bytes"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Closed word"),
        sa.Column("detail", sa.Text(), nullable=False, comment="What, expected, got"),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it first arrived",
        ),
        sa.Column("times", sa.BigInteger(), nullable=False, comment="How often it has been sent"),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="The bytes"),
        sa.PrimaryKeyConstraint("edge_id", "content_digest", name=op.f("pk_quarantined_content")),
    )
    op.create_table(
        "request_nonce",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="The edge"),
        sa.Column("nonce", sa.Text(), nullable=False, comment="Random hex, used once"),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.PrimaryKeyConstraint("edge_id", "nonce", name=op.f("pk_request_nonce")),
    )
    op.create_index(op.f("ix_request_nonce_seen_at"), "request_nonce", ["seen_at"], unique=False)
    op.create_table(
        "site",
        sa.Column("id", sa.Text(), nullable=False, comment="Short name, such as H02"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name as printed"),
        sa.Column("timezone", sa.Text(), nullable=False, comment="IANA time zone of the hospital"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was added"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "stored_window",
        sa.Column("edge_id", sa.Text(), nullable=False, comment="The edge"),
        sa.Column(
            "start", sa.DateTime(timezone=True), nullable=False, comment="Start of the window"
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="Edge's epoch"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="In the epoch"),
        sa.Column(
            "end",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="End of the window, exclusive",
        ),
        sa.Column(
            "stream", sa.Text(), nullable=False, comment="cases, moments, labels, sentinel, …"
        ),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="0, then one more per late addition",
        ),
        sa.Column("site_id", sa.Text(), nullable=False, comment="Site of the edge when it arrived"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version it reports on"),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="Names the window: SHA-256 over its header"
        ),
        sa.Column("cases", sa.BigInteger(), nullable=False, comment="Cases it counts"),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the edge closed it",
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="When it arrived"
        ),
        sa.Column(
            "raw", sa.LargeBinary(), nullable=False, comment="Exact bytes, signature included"
        ),
        sa.PrimaryKeyConstraint(
            "edge_id", "start", "epoch", "sequence", name=op.f("pk_stored_window")
        ),
        postgresql_partition_by="RANGE (start)",
    )
    op.create_index(
        "ix_stored_window_lock_digest_received_at",
        "stored_window",
        ["lock_digest", "received_at"],
        unique=False,
    )
    op.create_table(
        "worker_heartbeat",
        sa.Column("worker", sa.Text(), nullable=False, comment="Host and process"),
        sa.Column(
            "completed_to",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Instant of the last completed round",
        ),
        sa.Column(
            "beaten_at", sa.DateTime(timezone=True), nullable=False, comment="Database time of it"
        ),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_worker_heartbeat")),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False, comment="Name to log in with"),
        sa.Column(
            "full_name", sa.Text(), nullable=False, comment="Name as printed beside a signature"
        ),
        sa.Column(
            "role",
            sa.Enum(
                "viewer",
                "analyst",
                "quality_approver",
                "regulatory",
                "site_admin",
                "administrator",
                "auditor",
                name="role",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="What the person may do",
        ),
        sa.Column("site_id", sa.Text(), nullable=True, comment="Only this site; null: every site"),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id"),
        sa.Column(
            "failed_attempts", sa.BigInteger(), nullable=False, comment="Since the last success"
        ),
        sa.Column(
            "locked_until", sa.DateTime(timezone=True), nullable=True, comment="No log-in before"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "disabled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="No log-in from then on",
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_account_site_id_site")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    op.create_table(
        "edge",
        sa.Column("id", sa.Text(), nullable=False, comment="Opaque name, issued here"),
        sa.Column("site_id", sa.Text(), nullable=False, comment="Where"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Expected device version"),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "active",
                "suspended",
                "revoked",
                "retired",
                name="edgestate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="pending, active, suspended, revoked, retired",
        ),
        sa.Column("public_key", sa.Text(), nullable=False, comment="Ed25519 public key, hex"),
        sa.Column(
            "epoch", sa.BigInteger(), nullable=False, comment="Current epoch of its sequence"
        ),
        sa.Column("agent_version", sa.Text(), nullable=False, comment="As last reported"),
        sa.Column(
            "reported_lock", sa.Text(), nullable=False, comment="Lock digest as last reported"
        ),
        sa.Column(
            "lock_state",
            sa.Text(),
            nullable=False,
            comment="holds, broken or not_checked, as last reported",
        ),
        sa.Column(
            "enrolled_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When its key was presented",
        ),
        sa.Column(
            "approved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its fingerprint was approved",
        ),
        sa.Column("approved_by", sa.Text(), nullable=True, comment="Account name of that person"),
        sa.Column(
            "last_seen_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Last authenticated request",
        ),
        sa.Column(
            "release_counter",
            sa.BigInteger(),
            nullable=False,
            comment="Highest release counter known to run there",
        ),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_edge_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_edge_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edge")),
        sa.UniqueConstraint("public_key", name=op.f("uq_edge_public_key")),
    )
    op.create_index(op.f("ix_edge_lock_digest"), "edge", ["lock_digest"], unique=False)
    op.create_index(op.f("ix_edge_site_id"), "edge", ["site_id"], unique=False)
    op.create_table(
        "recipient",
        sa.Column("address", sa.Text(), nullable=False, comment="Mail address"),
        sa.Column(
            "least_severity",
            sa.Enum(
                "info", "notice", "warning", "urgent", name="severity", native_enum=False, length=32
            ),
            nullable=False,
            comment="Nothing below it is sent",
        ),
        sa.Column(
            "site_id", sa.Text(), nullable=True, comment="Only signals of this site; null: of all"
        ),
        sa.Column("added_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_recipient_site_id_site")),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_recipient")),
    )
    op.create_table(
        "reference",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as R-0001"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("until", sa.Date(), nullable=False, comment="Last day of the reference period"),
        sa.Column("plan_digest", sa.Text(), nullable=False, comment="Plan it was built with"),
        sa.Column(
            "state",
            sa.Enum(
                "candidate",
                "approved",
                "superseded",
                name="referencestate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="candidate, approved or superseded",
        ),
        sa.Column(
            "frozen",
            sa.LargeBinary(),
            nullable=False,
            comment="Canonical JSON naming every window it consists of",
        ),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the frozen bytes"),
        sa.Column(
            "summary",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What it contains, for display",
        ),
        sa.Column("proposed_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "approved_by", sa.Text(), nullable=True, comment="Account name of a second person"
        ),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_reference_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference")),
        sa.UniqueConstraint("digest", name=op.f("uq_reference_digest")),
    )
    op.create_index(op.f("ix_reference_lock_digest"), "reference", ["lock_digest"], unique=False)
    op.create_index(
        "uq_reference_in_force",
        "reference",
        ["lock_digest"],
        unique=True,
        postgresql_where=sa.text("state = 'approved'"),
    )
    op.create_table(
        "report",
        sa.Column("number", sa.Text(), nullable=False, comment="Such as DR-0001"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("start", sa.Date(), nullable=False, comment="First day reported on"),
        sa.Column("end", sa.Date(), nullable=False, comment="Day after the last"),
        sa.Column(
            "evidence", sa.LargeBinary(), nullable=False, comment="Canonical JSON it was made from"
        ),
        sa.Column("input_digest", sa.Text(), nullable=False, comment="SHA-256 of the evidence"),
        sa.Column("html", sa.LargeBinary(), nullable=False, comment="As issued"),
        sa.Column("pdf", sa.LargeBinary(), nullable=False, comment="As issued"),
        sa.Column("pdf_digest", sa.Text(), nullable=False, comment="SHA-256 of the PDF"),
        sa.Column("issued_by", sa.Text(), nullable=False, comment="Account name"),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_report_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_report")),
    )
    op.create_index(op.f("ix_report_lock_digest"), "report", ["lock_digest"], unique=False)
    op.create_table(
        "surveillance_plan",
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the plan's payload"),
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
            name=op.f("fk_surveillance_plan_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_surveillance_plan")),
        sa.UniqueConstraint(
            "lock_digest", "version", name=op.f("uq_surveillance_plan_lock_digest_version")
        ),
    )
    op.create_table(
        "enrolment_code",
        sa.Column("code_hash", sa.Text(), nullable=False, comment="SHA-256 of the code"),
        sa.Column("site_id", sa.Text(), nullable=False, comment="Site it enrols for"),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version it enrols for"),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Account name of the person"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was shown, once",
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Not redeemable from then on",
        ),
        sa.Column("edge_id", sa.Text(), nullable=True, comment="The edge it became, once redeemed"),
        sa.ForeignKeyConstraint(
            ["edge_id"], ["edge.id"], name=op.f("fk_enrolment_code_edge_id_edge")
        ),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_enrolment_code_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["site.id"], name=op.f("fk_enrolment_code_site_id_site")
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_enrolment_code")),
    )
    op.create_table(
        "evaluation",
        sa.Column(
            "input_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 over plan, reference, windows and day",
        ),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("reference_id", sa.Text(), nullable=False, comment="Reference"),
        sa.Column("plan_digest", sa.Text(), nullable=False, comment="Plan"),
        sa.Column(
            "upto", sa.Date(), nullable=False, comment="Windows that had arrived by this day"
        ),
        sa.Column("windows", sa.BigInteger(), nullable=False, comment="Windows it looked at"),
        sa.Column(
            "evidence",
            sa.LargeBinary(),
            nullable=False,
            comment="Compressed canonical JSON: signals, traces, assessability",
        ),
        sa.Column(
            "result_digest",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the uncompressed evidence",
        ),
        sa.Column(
            "promised", sa.Double(), nullable=False, comment="False signals promised per year"
        ),
        sa.Column("evaluated_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_evaluation_lock_digest_device_version"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_digest"],
            ["surveillance_plan.digest"],
            name=op.f("fk_evaluation_plan_digest_surveillance_plan"),
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["reference.id"], name=op.f("fk_evaluation_reference_id_reference")
        ),
        sa.PrimaryKeyConstraint("input_digest", name=op.f("pk_evaluation")),
    )
    op.create_index(op.f("ix_evaluation_lock_digest"), "evaluation", ["lock_digest"], unique=False)
    op.create_index(op.f("ix_evaluation_upto"), "evaluation", ["upto"], unique=False)
    op.create_table(
        "login_session",
        sa.Column("id_hash", sa.Text(), nullable=False, comment="SHA-256 of the cookie's id"),
        sa.Column("account", sa.Text(), nullable=False, comment="Whose session"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When"),
        sa.Column(
            "last_used_at", sa.DateTime(timezone=True), nullable=False, comment="For the idle limit"
        ),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False, comment="Absolute limit"),
        sa.ForeignKeyConstraint(
            ["account"], ["account.name"], name=op.f("fk_login_session_account_account")
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_login_session")),
    )
    op.create_index(op.f("ix_login_session_account"), "login_session", ["account"], unique=False)
    op.create_table(
        "signal",
        sa.Column("id", sa.Text(), nullable=False, comment="Such as S-0001"),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="The engine's or the event's own stable name",
        ),
        sa.Column("lock_digest", sa.Text(), nullable=False, comment="Device version"),
        sa.Column("kind", sa.Text(), nullable=False, comment="statistical or deterministic"),
        sa.Column("severity", sa.Text(), nullable=False, comment="info, notice, warning or urgent"),
        sa.Column(
            "state",
            sa.Enum(
                "detected",
                "under_assessment",
                "confirmed",
                "refuted",
                "inconclusive",
                name="signalstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="Where it stands",
        ),
        sa.Column(
            "raised_on", sa.Date(), nullable=False, comment="Day of the evidence that raised it"
        ),
        sa.Column(
            "raised_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was stored here",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When its history last grew",
        ),
        sa.Column(
            "document",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Signal JSON, app/contracts/signals.py",
        ),
        sa.Column(
            "evaluation", sa.Text(), nullable=True, comment="Evaluation with its newest evidence"
        ),
        sa.ForeignKeyConstraint(
            ["evaluation"],
            ["evaluation.input_digest"],
            name=op.f("fk_signal_evaluation_evaluation"),
        ),
        sa.ForeignKeyConstraint(
            ["lock_digest"],
            ["device_version.lock_digest"],
            name=op.f("fk_signal_lock_digest_device_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signal")),
        sa.UniqueConstraint("lock_digest", "source", name=op.f("uq_signal_lock_digest_source")),
    )
    op.create_index(op.f("ix_signal_lock_digest"), "signal", ["lock_digest"], unique=False)
    op.create_index(op.f("ix_signal_state"), "signal", ["state"], unique=False)
    op.create_table(
        "decision",
        sa.Column("id", sa.Text(), nullable=False, comment="UUID"),
        sa.Column("signal_id", sa.Text(), nullable=False, comment="Signal"),
        sa.Column(
            "action",
            sa.Enum(
                "start_assessment",
                "confirm",
                "refute",
                "leave_open",
                "reopen",
                name="action",
                native_enum=False,
                length=32,
            ),
            nullable=False,
            comment="What was decided",
        ),
        sa.Column(
            "cause", sa.Text(), nullable=False, comment="Cause as the person sees it; may be empty"
        ),
        sa.Column("rationale", sa.Text(), nullable=False, comment="Why, in the person's words"),
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
            comment="SHA-256 of the signal document that was on the screen",
        ),
        sa.Column(
            "signature",
            sa.Text(),
            nullable=False,
            comment="Hex, by the centre's key over this record",
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"], ["signal.id"], name=op.f("fk_decision_signal_id_signal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
    )
    op.create_index(op.f("ix_decision_signal_id"), "decision", ["signal_id"], unique=False)

    _partition_windows()
    for table in APPEND_ONLY:
        _refuse_changes(table)


def _partition_windows() -> None:
    # Months are added by a job; until then, and for anything very late, there is the default.
    op.execute("CREATE TABLE stored_window_default PARTITION OF stored_window DEFAULT")
    # The bytes are compressed already: kept out of line, not compressed again.
    op.execute("ALTER TABLE stored_window ALTER COLUMN raw SET STORAGE EXTERNAL")


def _refuse_changes(table: str) -> None:
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_decision_signal_id"), table_name="decision")
    op.drop_table("decision")
    op.drop_index(op.f("ix_signal_state"), table_name="signal")
    op.drop_index(op.f("ix_signal_lock_digest"), table_name="signal")
    op.drop_table("signal")
    op.drop_index(op.f("ix_login_session_account"), table_name="login_session")
    op.drop_table("login_session")
    op.drop_index(op.f("ix_evaluation_upto"), table_name="evaluation")
    op.drop_index(op.f("ix_evaluation_lock_digest"), table_name="evaluation")
    op.drop_table("evaluation")
    op.drop_table("enrolment_code")
    op.drop_table("surveillance_plan")
    op.drop_index(op.f("ix_report_lock_digest"), table_name="report")
    op.drop_table("report")
    op.drop_index(
        "uq_reference_in_force",
        table_name="reference",
        postgresql_where=sa.text("state = 'approved'"),
    )
    op.drop_index(op.f("ix_reference_lock_digest"), table_name="reference")
    op.drop_table("reference")
    op.drop_table("recipient")
    op.drop_index(op.f("ix_edge_site_id"), table_name="edge")
    op.drop_index(op.f("ix_edge_lock_digest"), table_name="edge")
    op.drop_table("edge")
    op.drop_table("account")
    op.drop_table("worker_heartbeat")
    op.drop_index("ix_stored_window_lock_digest_received_at", table_name="stored_window")
    op.drop_table("stored_window")
    op.drop_table("site")
    op.drop_index(op.f("ix_request_nonce_seen_at"), table_name="request_nonce")
    op.drop_table("request_nonce")
    op.drop_table("quarantined_content")
    op.drop_index(op.f("ix_outbox_mail_state"), table_name="outbox_mail")
    op.drop_table("outbox_mail")
    op.drop_index(op.f("ix_job_run_state"), table_name="job_run")
    op.drop_table("job_run")
    op.drop_table("job_plan")
    op.drop_table("edge_cursor")
    op.drop_index(op.f("ix_device_version_schema_digest"), table_name="device_version")
    op.drop_table("device_version")
    op.drop_index(op.f("ix_audit_entry_subject"), table_name="audit_entry")
    op.drop_index(op.f("ix_audit_entry_action"), table_name="audit_entry")
    op.drop_table("audit_entry")
    op.drop_table("arrival")
    op.execute("DROP FUNCTION refuse_change()")
