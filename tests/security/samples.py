"""One honest request for every operation of the document: what its path and its body name.

`SAMPLES[operation].request(...)` fills in ids; `uses` says which of them name something that may be
somebody else's, so that tests can put another person's ids, or ones that name nothing, there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.security.world import Device, hello_body

_numbers = count(1)
_BUCKETS = ["AAAAAAAAAAAAAAAAAAAAAA=="] * 16
Ids = Mapping[str, Any]


def missing():
    """Return ids that are well formed and name nothing, by what they would name; new ones."""
    n = next(_numbers)
    named = ("row_id", "person", "session", "credential", "invitation", "token", "tenant", "kid")
    return {
        **{name: f"no-such-{name}-{n}" for name in named},
        "space": f"region:no-such-{n}", "device": 900_000 + n, "email": f"nobody-{n}@example.org",
        "code": f"ski_{n:032}",
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """A request. `free`: ids that anybody may write down, whether they name something or not;
    `bearer`: secrets that are good for everybody of their tenant; `is_ending`: it ends what
    others use.
    """

    uses: tuple[str, ...] = ()
    body: Callable[[Ids], Any] | None = None
    query: Callable[[Ids], Mapping[str, Any]] | None = None
    free: tuple[str, ...] = ()
    bearer: tuple[str, ...] = ()
    is_ending: bool = False

    def request(self, path: str, ids: Ids) -> tuple[str, dict[str, Any]]:
        """Return the path and the arguments of a request."""
        arguments: dict[str, Any] = {}
        if self.body is not None:
            arguments["json"] = self.body(ids)
        if self.query is not None:
            arguments["params"] = self.query(ids)
        return path.format_map(ids), arguments


def _entry(**further: Callable[[Ids], Any]) -> Callable[[Ids], Any]:
    """Return a way in: each body has a device with a proof of its own."""

    def body(ids: Ids) -> Any:
        device = Device("phone of a sample").body(ids["tenant"])
        made = {name: of(ids) for name, of in further.items()}
        return {"tenant": ids["tenant"], "device": device, **made}

    return body


def _email(ids: Ids) -> Any:
    return {"tenant": ids["tenant"], "email": ids["email"]}


def _refresh(ids: Ids) -> Any:
    token = "skr_nothing"
    return {"refresh_token": token, "proof": Device("").proof("refresh", token)}


def _mutation(ids: Ids) -> Any:
    change = {"collection": "site", "id": ids["row_id"], "fields": {"title": "pushed"}}
    inserted = {
        "collection": "site", "id": f"pushed-{next(_numbers)}", "op": "insert",
        "space": ids["space"], "fields": {},
    }  # fmt: skip
    return [
        {"counter": 1, "h": ids["clock"] + 1, "changes": [change]},
        {"counter": 2, "h": ids["clock"] + 2, "changes": [inserted]},
    ]


def _push(ids: Ids) -> Any:
    return {
        "kind": "push", "device": ids["device"], "clock": ids["clock"], "schema_version": 1,
        "mutations": _mutation(ids),
    }  # fmt: skip


def _repair(ids: Ids) -> Any:
    return {
        "kind": "repair", "device": ids["device"], "schema_version": 1, "space": ids["space"],
        "digests": {"site": _BUCKETS},
    }  # fmt: skip


def _explain(ids: Ids) -> Any:
    return {
        "person": ids["person"], "operation": "read", "collection": "site", "row": ids["row_id"],
    }  # fmt: skip


def _constant(value: Any) -> Callable[[Ids], Any]:
    return lambda _ids: value


def _name(ids: Ids) -> Any:
    return {"name": ids.get("name", "changed")}


def _new_row(ids: Ids) -> Any:
    return {"space": ids["space"], "id": f"row-{next(_numbers)}", "fields": {"title": "new"}}


_FLOW = _constant("no-such-flow")
_CODE = _constant("12345678")
_PASSWORD = _constant("correct horse")
_WRONG = _constant("wrong horse")
_NO_FLOW = _constant({"flow": "no-such-flow", "code": "12345678"})
SAMPLES: Mapping[str, Sample] = {
    "sync.hello": Sample(body=lambda _: hello_body(f"sample-{next(_numbers)}")),
    "sync.push": Sample(("device", "row_id", "space"), _push),
    "sync.pull": Sample(
        ("device",),
        lambda ids: {"kind": "pull", "device": ids["device"], "schema_version": 1},
    ),
    "sync.repair": Sample(("device", "space"), _repair),
    "receipts.list": Sample(("device",), query=lambda ids: {"device": ids["device"]}),
    "conflicts.list": Sample(
        ("row_id",), query=lambda ids: {"collection": "site", "row": ids["row_id"]}
    ),
    "spaces.mine": Sample(),
    "spaces.create": Sample(body=_constant({"kind": "region"})),
    "members.list": Sample(("space",)),
    "members.set": Sample(
        ("space", "person"), _constant({"role": "manager"}), free=("space", "person")
    ),
    "members.remove": Sample(("space", "person"), is_ending=True),
    "invitations.list": Sample(("space",)),
    "invitations.create": Sample(("space",), _constant({"role": "member"})),
    "invitations.revoke": Sample(("space", "invitation"), is_ending=True),
    "invitations.accept": Sample(("code",), lambda ids: {"code": ids["code"]}, bearer=("code",)),
    "health.live": Sample(),
    "health.ready": Sample(),
    "health.fresh": Sample(),
    "metrics": Sample(),
    "auth.anonymous": Sample(body=_entry()),
    "auth.password": Sample(body=_entry(email=lambda ids: ids["email"], password=_WRONG)),
    "auth.register": Sample(body=lambda ids: {**_email(ids), "password": "correct horse"}),
    "auth.register.finish": Sample(body=_entry(flow=_FLOW, code=_CODE)),
    "auth.code": Sample(body=_email),
    "auth.code.finish": Sample(body=_entry(flow=_FLOW, code=_CODE)),
    "auth.reset": Sample(body=_email),
    "auth.reset.finish": Sample(body=_entry(flow=_FLOW, code=_CODE, password=_PASSWORD)),
    "auth.oidc.begin": Sample(body=lambda ids: {"tenant": ids["tenant"]}),
    "auth.oidc": Sample(body=_entry(flow=_FLOW, id_token=_constant("no-token"))),
    "auth.passkey.begin": Sample(body=lambda ids: {"tenant": ids["tenant"]}),
    "auth.passkey": Sample(body=_entry(flow=_FLOW, credential=_constant({}))),
    "auth.service": Sample(body=_constant({"token": "sks_nothing"})),
    "auth.refresh": Sample(body=_refresh),
    "keys.published": Sample(),
    "me.get": Sample(),
    "me.change": Sample(body=_name),
    "me.erase": Sample(is_ending=True),
    "me.export": Sample(),
    "me.sign_out": Sample(is_ending=True),
    "me.sessions": Sample(),
    "me.sessions.end_others": Sample(is_ending=True),
    "me.sessions.end": Sample(("session",), is_ending=True),
    "me.step_up.begin": Sample(body=_constant({"method": "email"})),
    "me.step_up": Sample(body=_constant({"password": "wrong horse"})),
    "me.email.begin": Sample(body=_constant({"email": "further@example.org"})),
    "me.email.finish": Sample(body=_NO_FLOW),
    "me.password": Sample(body=_constant({"password": "correct horse"})),
    "me.oidc.begin": Sample(),
    "me.oidc": Sample(body=_constant({"flow": "no-such-flow", "id_token": "no-token"})),
    "me.passkeys.begin": Sample(),
    "me.passkeys": Sample(body=_constant({"flow": "no-such-flow", "credential": {}})),
    "me.credentials.remove": Sample(("credential",), is_ending=True),
    "admin.accounts": Sample(),
    "admin.account": Sample(("person",)),
    "admin.account.change": Sample(("person",), _name),
    "admin.account.erase": Sample(("person",), is_ending=True),
    "admin.account.export": Sample(("person",)),
    "admin.account.sessions": Sample(("person",)),
    "admin.account.sign_out": Sample(("person",), is_ending=True),
    "admin.service_tokens": Sample(),
    "admin.service_tokens.create": Sample(body=_constant({"name": "a service"})),
    "admin.service_tokens.revoke": Sample(("token",), is_ending=True),
    "admin.audit": Sample(("person",), query=lambda ids: {"subject": ids["person"]}),
    "admin.explain": Sample(("person", "row_id"), _explain, free=("person", "row_id")),
    "admin.tenant": Sample(),
    "admin.tenant.change": Sample(body=_constant({"anonymous": True})),
    "admin.export": Sample(),
    "operator.tenants": Sample(),
    "operator.tenants.create": Sample(body=lambda _: {"tenant": f"tenant-{next(_numbers)}"}),
    "operator.tenant": Sample(),
    "operator.tenant.change": Sample(body=_constant({"anonymous": True})),
    "operator.tenant.erase": Sample(is_ending=True),
    "operator.tenant.export": Sample(),
    "operator.fleet": Sample(),
    "operator.fleet.promote": Sample(body=_constant({})),
    "operator.fleet.hand-over": Sample(body=_constant({"node": "ams"})),
    "operator.keys": Sample(),
    "operator.keys.rotate": Sample(is_ending=True),
    "operator.keys.revoke": Sample(is_ending=True),
    "operator.audit": Sample(),
    "site.list": Sample(),
    "site.insert": Sample(("space",), _new_row),
    "site.get": Sample(("row_id",)),
    "site.edit": Sample(("row_id",), _constant({"fields": {"title": "edited"}})),
    "site.delete": Sample(("row_id",), is_ending=True),
    "site.restore": Sample(("row_id",)),
}
