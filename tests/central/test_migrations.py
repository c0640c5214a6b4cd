from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from app.central.database import alembic_config, migrate
from app.central.tables import metadata

ASSIGNMENTS = {
    "audit_entry": "body = ''",
    "decision": "rationale = ''",
    "recalibration_decision": "reason = ''",
    "point_release": "reason = ''",
    "change_plan": "version = 0",
    "post_change_comparison": "digest = ''",
    "holdout_evaluation": "verdict = ''",
    "alarm_test": "stream = ''",
    "awareness": "how = ''",
    "reportability_assessment": "signature = ''",
    "report_remark": "text = ''",
    "report_signature": "signature = ''",
    "site_letter": "signature = ''",
    "signal_note": "text = ''",
}


def test_the_migrations_make_the_tables_the_code_declares(fresh_database: Engine) -> None:
    config = alembic_config()

    with fresh_database.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)  # raises when a revision is missing


def test_every_column_says_what_it_holds() -> None:
    silent = [str(c) for t in metadata.sorted_tables for c in t.columns if not c.comment]

    assert silent == []


@pytest.mark.parametrize("table", ASSIGNMENTS)
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_what_was_recorded_cannot_be_changed(
    connection: Connection, table: str, change: str
) -> None:
    assignment = ASSIGNMENTS[table]

    with pytest.raises(IntegrityError, match=f"{table} is append-only"):
        connection.execute(text(change.format(table, assignment)))


def test_an_empty_database_goes_down_and_up_again(fresh_database: Engine) -> None:
    with fresh_database.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    left = set(inspect(fresh_database).get_table_names())
    migrate(fresh_database)

    assert left == {"alembic_version"}
    assert set(metadata.tables) <= set(inspect(fresh_database).get_table_names())


def test_the_key_of_every_large_table_begins_with_the_edge() -> None:
    # So that the tables can be distributed by edge (reliability.md 6.6).
    large = (
        *("arrival", "stored_window", "case_count"),
        *("quarantined_content", "edge_cursor", "request_nonce"),
    )

    first = {name: next(iter(metadata.tables[name].primary_key.columns)).name for name in large}

    assert set(first.values()) == {"edge_id"}
    assert [k for name in large for k in metadata.tables[name].foreign_keys] == []
