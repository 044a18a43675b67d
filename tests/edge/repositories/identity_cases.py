"""Two tenants with the same ids in both identity databases, and a call of every method for one.

Everything of a tenant holds its canary. `OTHER_ONLY` ids exist for the tenant that is not acting.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge.ports.identity_records import (
    AccountRecord,
    AuditRecord,
    CredentialRecord,
    DeviceKeyRecord,
    FlowRecord,
    SessionRecord,
    TenantRecord,
)
from edge.repositories.control.database import ControlSqlUnit
from edge.repositories.control.migrations import migrate as migrate_control
from edge.repositories.vault.database import VaultSqlUnit
from edge.repositories.vault.migrations import migrate as migrate_vault

BOTH = "1"
OTHER_ONLY = "2"


class Connection:
    """The SqlWriter port on a connection in memory; `rewrite` and `seen` watch its statements."""

    def __init__(self):
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self.seen = set()
        self.rewrite = {}
        self.rewritten = 0

    def _execute(self, sql, parameters):
        self.seen.add(sql)
        if sql in self.rewrite:
            self.rewritten += 1
        return self._connection.execute(self.rewrite.get(sql, sql), parameters)

    def all(self, sql, parameters=()):
        return self._execute(sql, parameters).fetchall()

    def one(self, sql, parameters=()):
        return self._execute(sql, parameters).fetchone()

    def run(self, sql, parameters=()):
        return self._execute(sql, parameters).rowcount

    def many(self, sql, rows):
        for row in rows:
            self._execute(sql, row)

    def close(self):
        self._connection.close()


class Units:
    """Stores of both databases by name; `vault` has the methods of the vault's unit itself."""

    def __init__(self, sql):
        self.control = ControlSqlUnit(sql)
        self.vault = VaultSqlUnit(sql)

    def __getitem__(self, store) -> Any:
        if store == "vault":
            return self.vault
        return getattr(self.control, store, None) or getattr(self.vault, store)


def canary(tenant):
    return f"canary-of-{tenant}"


def account(tenant, n):
    return AccountRecord(tenant, f"person{n}", "person", "active", canary(tenant), (), 5)


def credential(tenant, n):
    return CredentialRecord(
        tenant, f"credential{n}", f"person{n}", "password", f"subject{n}",
        canary(tenant).encode(), canary(tenant), 1, 5, 5,
    )  # fmt: skip


def device(tenant, n):
    return DeviceKeyRecord(
        tenant, f"device{n}", f"person{n}", canary(tenant).encode(), canary(tenant), 5
    )


def session(tenant, n):
    secret = canary(tenant).encode()
    return SessionRecord(
        tenant, f"session{n}", f"person{n}", f"device{n}", "active", 3, secret, secret, secret,
        5, 5, 100, 5, (canary(tenant),), "",
    )  # fmt: skip


def entry(tenant, *, actor, subject):
    detail = {"canary": canary(tenant)}
    return AuditRecord(0, tenant, 5, actor, "action", subject, canary(tenant), detail)


def flow(tenant, n):
    secret = canary(tenant)
    return FlowRecord(
        tenant, f"flow{n}", "purpose", f"person{n}", f"subject{n}", secret.encode(), secret, 0, 100
    )


def seed(sql, tenant, suffixes):
    units = Units(sql)
    units["tenants"].put(TenantRecord(tenant, "active", (), {"canary": canary(tenant)}, 5))
    for n in suffixes:
        units["accounts"].put(account(tenant, n))
        units["credentials"].add(credential(tenant, n))
        units["devices"].put(device(tenant, n))
        units["sessions"].put(session(tenant, n))
        units["revocations"].add(tenant, "session", f"session{n}", at_s=5, until_s=100)
        units["audit"].add(entry(tenant, actor=f"person{n}", subject=canary(tenant)))
        units["audit"].add(entry(tenant, actor=canary(tenant), subject=f"person{n}"))
        units["flows"].add(flow(tenant, n))
        units["secrets"].put(tenant, f"credential{n}", canary(tenant))


def seeded(acting, *others):
    """Return a connection with both databases' tables; the acting tenant comes first in time."""
    sql = Connection()
    migrate_control(sql, new_database_id="control")
    migrate_vault(sql, new_database_id="vault")
    seed(sql, acting, BOTH)
    for other in others:
        seed(sql, other, BOTH + OTHER_ONLY)
    sql.seen.clear()
    return sql


@dataclass(frozen=True)
class Case:
    """One call of one method for a tenant `t`, about the things with suffix `n`."""

    store: str
    method: str
    call: Callable[..., Any]

    def __str__(self):
        return f"{self.store}.{self.method}"

    def run(self, sql, tenant, n):
        return self.call(getattr(Units(sql)[self.store], self.method), tenant, n)


CASES = [
    Case("tenants", "get", lambda f, t, _: f(t)),
    Case("tenants", "put", lambda f, t, _: f(TenantRecord(t, "erased", (), {}, 9))),
    Case("tenants", "erase", lambda f, t, _: f(t)),
    Case("accounts", "get", lambda f, t, n: f(t, f"person{n}")),
    Case("accounts", "put", lambda f, t, n: f(account(t, n))),
    Case("accounts", "list", lambda f, t, _: f(t, after="", limit=99)),
    Case("accounts", "erase", lambda f, t, n: f(t, f"person{n}")),
    Case("credentials", "find", lambda f, t, n: f(t, "password", f"subject{n}")),
    Case("credentials", "of_person", lambda f, t, n: f(t, f"person{n}")),
    Case("credentials", "add", lambda f, t, n: f(credential(t, n))),
    Case("credentials", "used", lambda f, t, n: f(t, f"credential{n}", counter=7, at_ms=7)),
    Case("credentials", "remove", lambda f, t, n: f(t, f"person{n}", f"credential{n}")),
    Case("credentials", "of_kind", lambda f, t, _: f(t, "password", after="", limit=99)),
    Case("devices", "get", lambda f, t, n: f(t, f"device{n}")),
    Case("devices", "put", lambda f, t, n: f(device(t, n))),
    Case("devices", "of_person", lambda f, t, n: f(t, f"person{n}")),
    Case("sessions", "get", lambda f, t, n: f(t, f"session{n}")),
    Case("sessions", "put", lambda f, t, n: f(session(t, n))),
    Case("sessions", "rotate", lambda f, t, n: f(session(t, n), from_generation=3)),
    Case("sessions", "active", lambda f, t, n: f(t, f"person{n}", now_ms=9)),
    Case("sessions", "end", lambda f, t, n: f(t, [f"session{n}"], reason="over")),
    Case("revocations", "add", lambda f, t, n: f(t, "session", f"s{n}", at_s=5, until_s=9)),
    Case("audit", "add", lambda f, t, n: f(entry(t, actor=f"person{n}", subject="x"))),
    Case("audit", "list", lambda f, t, _: f(t, subject=None, after=0, limit=99)),
    Case("audit", "list", lambda f, t, n: f(t, subject=f"person{n}", after=0, limit=99)),
    Case("audit", "pseudonymise", lambda f, t, n: f(t, f"person{n}", pseudonym="nobody")),
    Case("secrets", "get", lambda f, t, n: f(t, f"credential{n}")),
    Case("secrets", "put", lambda f, t, n: f(t, f"credential{n}", "hash")),
    Case("secrets", "remove", lambda f, t, n: f(t, f"credential{n}")),
    Case("flows", "add", lambda f, t, n: f(flow(t, n + "new"))),
    Case("flows", "get", lambda f, t, n: f(t, f"flow{n}")),
    Case("flows", "take", lambda f, t, n: f(t, f"flow{n}")),
    Case("flows", "failed", lambda f, t, n: f(t, f"flow{n}")),
    Case("flows", "open_count", lambda f, t, n: f(t, "purpose", f"subject{n}")),
    Case("vault", "erase", lambda f, t, _: f(t)),
    Case("vault", "erase", lambda f, t, n: f(t, f"person{n}")),
]

OF_ALL_TENANTS = {
    ("tenants", "all"),
    ("sessions", "trim"),
    ("keys", "all"),
    ("keys", "put"),
    ("keys", "remove"),
    ("revocations", "after"),
    ("revocations", "trim"),
    ("audit", "trim"),
    ("flows", "trim"),
    ("nodes", "all"),
    ("nodes", "get"),
    ("nodes", "put"),
    ("nodes", "leadership"),
    ("nodes", "lead"),
    ("joins", "add"),
    ("joins", "get"),
    ("joins", "use"),
    ("joins", "trim"),
}
"""Methods that concern no single tenant, by their documentation."""
