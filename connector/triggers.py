"""Database triggers of both engines: append-only audit, integrations within one tenant (DESIGN 7 and 8).

Used by migration 0002, after every `migrate`, and by the test fixture that must flush tables. Statements are versioned
by the migrations that call them: a change here needs a new migration.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

AUDIT = "connector_auditentry"
INTEGRATION = "connector_integration"
CONNECTION = "connector_connection"

POSTGRES_INSTALL = [
    """CREATE OR REPLACE FUNCTION connector_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'audit entries are append-only'; END $$""",
    f"""CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON {AUDIT}
        FOR EACH ROW EXECUTE FUNCTION connector_audit_append_only()""",
    f"""CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {AUDIT}
        FOR EACH STATEMENT EXECUTE FUNCTION connector_audit_append_only()""",
    f"""CREATE OR REPLACE FUNCTION connector_integration_one_tenant() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN
         IF EXISTS (SELECT 1 FROM {CONNECTION} c WHERE c.id IN (NEW.source_id, NEW.target_id) AND c.tenant_id <> NEW.tenant_id)
         THEN RAISE EXCEPTION 'source and target of an integration must belong to its tenant' USING ERRCODE = 'check_violation';
         END IF; RETURN NEW; END $$""",
    f"""CREATE TRIGGER integration_one_tenant BEFORE INSERT OR UPDATE ON {INTEGRATION}
        FOR EACH ROW EXECUTE FUNCTION connector_integration_one_tenant()""",
    f"""CREATE OR REPLACE FUNCTION connector_connection_one_tenant() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN
         IF EXISTS (SELECT 1 FROM {INTEGRATION} i WHERE NEW.id IN (i.source_id, i.target_id) AND i.tenant_id <> NEW.tenant_id)
         THEN RAISE EXCEPTION 'source and target of an integration must belong to its tenant' USING ERRCODE = 'check_violation';
         END IF; RETURN NEW; END $$""",
    f"""CREATE TRIGGER connection_one_tenant BEFORE UPDATE OF tenant_id ON {CONNECTION}
        FOR EACH ROW EXECUTE FUNCTION connector_connection_one_tenant()""",
]
POSTGRES_REMOVE = [
    f"DROP TRIGGER IF EXISTS audit_append_only ON {AUDIT}",
    f"DROP TRIGGER IF EXISTS audit_no_truncate ON {AUDIT}",
    "DROP FUNCTION IF EXISTS connector_audit_append_only()",
    f"DROP TRIGGER IF EXISTS integration_one_tenant ON {INTEGRATION}",
    "DROP FUNCTION IF EXISTS connector_integration_one_tenant()",
    f"DROP TRIGGER IF EXISTS connection_one_tenant ON {CONNECTION}",
    "DROP FUNCTION IF EXISTS connector_connection_one_tenant()",
]
_ONE_TENANT = f"""WHEN EXISTS (SELECT 1 FROM {CONNECTION} c
      WHERE c.id IN (NEW.source_id, NEW.target_id) AND c.tenant_id <> NEW.tenant_id)
    BEGIN SELECT RAISE(ABORT, 'source and target of an integration must belong to its tenant'); END"""
SQLITE_INSTALL = [
    f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {AUDIT} BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
    f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {AUDIT} BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
    # INSERT OR REPLACE deletes without firing the delete trigger.
    f"""CREATE TRIGGER audit_no_replace BEFORE INSERT ON {AUDIT} WHEN EXISTS (SELECT 1 FROM {AUDIT} WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END""",
    f"CREATE TRIGGER integration_one_tenant_insert BEFORE INSERT ON {INTEGRATION} {_ONE_TENANT}",
    f"CREATE TRIGGER integration_one_tenant_update BEFORE UPDATE ON {INTEGRATION} {_ONE_TENANT}",
    f"""CREATE TRIGGER connection_one_tenant BEFORE UPDATE OF tenant_id ON {CONNECTION}
        WHEN EXISTS (SELECT 1 FROM {INTEGRATION} i
          WHERE NEW.id IN (i.source_id, i.target_id) AND i.tenant_id <> NEW.tenant_id)
        BEGIN SELECT RAISE(ABORT, 'source and target of an integration must belong to its tenant'); END""",
]
POSTGRES_NAMES = frozenset({"audit_append_only", "audit_no_truncate", "integration_one_tenant", "connection_one_tenant"})
SQLITE_NAMES = frozenset(
    {
        "audit_no_update",
        "audit_no_delete",
        "audit_no_replace",
        "integration_one_tenant_insert",
        "integration_one_tenant_update",
        "connection_one_tenant",
    }
)
SQLITE_REMOVE = [f"DROP TRIGGER IF EXISTS {name}" for name in sorted(SQLITE_NAMES)]


def _run(connection: Any, postgres: list[str], sqlite: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in postgres if connection.vendor == "postgresql" else sqlite:
            cursor.execute(statement)


def install(connection: Any) -> None:
    """Create all triggers, anew where they exist."""
    remove(connection)
    _run(connection, POSTGRES_INSTALL, SQLITE_INSTALL)


def remove(connection: Any) -> None:
    """Drop all triggers."""
    _run(connection, POSTGRES_REMOVE, SQLITE_REMOVE)


def ensure(using: str, **signal: Any) -> None:
    """After `migrate`: install what is missing. On SQLite many a migration builds a table anew, which drops its triggers."""
    connection = connections[using]
    if AUDIT not in connection.introspection.table_names():
        return  # migrated back to nothing
    postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger" if postgres else "SELECT name FROM sqlite_master WHERE type = 'trigger'")
        there = {name for (name,) in cursor.fetchall()}
    if not (POSTGRES_NAMES if postgres else SQLITE_NAMES) <= there:
        install(connection)
