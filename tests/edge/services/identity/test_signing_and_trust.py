"""Keys that sign, and what a process trusts: rotation, revocation, regions, a second process."""

import asyncio

import pytest

from core.identity.keys import Authority, KeyState
from core.identity.tenants import TenantEntry, TenantState
from core.ids import PersonId, TenantId
from edge.errors import Forbidden, NotFound, Unauthenticated, UnknownTenant
from edge.repositories.control.database import SqlControlDatabase
from edge.services.identity.models import tenant_record
from edge.services.identity.signing import ACCESS_TOKEN_S, Signing, jwks
from edge.services.identity.trust import Trust
from edge.services.keys import KeyRing
from edge.services.tokens import Tokens, mint, signed
from edge.storage.grouped import GroupedEngine
from edge.storage.key_files import KeyFiles
from edge.storage.sqlite import SqliteEngine

NOW_MS = 1_790_000_000_000
NOW_S = NOW_MS // 1_000


class Process:
    """What one process of a node has: its trust, and for the writing one its keys."""

    def __init__(self, folder, *, is_writer=True, node="fra-1", authority=None):
        self.engine = SqliteEngine(folder / "control.db", is_writer=is_writer)
        engine = GroupedEngine(self.engine) if is_writer else self.engine
        self.control = SqlControlDatabase(engine)
        self.files = KeyFiles(folder / "keys")
        self.trust = Trust(self.control, KeyRing(self.files), clock=lambda: NOW_S)
        self.signing = Signing(
            self.control, self.files, self.trust, node=node, authority=authority,
            now_ms=lambda: NOW_MS,
        )  # fmt: skip
        self.tokens = Tokens(self.trust, lifetime_s_max=86_400, clock=lambda: NOW_S)

    def token(self, *, session="s1", scopes=()):
        claims = {"sub": "ada", "tenant": "main", "sid": session, "did": "d", "auth_time": NOW_S}
        return self.signing.access_token(claims, scopes=scopes)


async def opened(folder, **arguments):
    process = Process(folder, **arguments)
    await process.engine.open()
    await process.control.migrate()
    entry = TenantEntry(TenantId("main"), TenantState.ACTIVE, created_ms=NOW_MS)
    await process.control.write(lambda unit: unit.tenants.put(tenant_record(entry)))
    await process.signing.open()
    return process


@pytest.fixture
async def process(tmp_path):
    made = await opened(tmp_path)
    yield made
    await made.control.close()


async def test_tokens_name_their_node_and_live_ten_minutes(process):
    principal = process.tokens.verify(process.token())
    assert principal.person == PersonId("ada")
    assert principal.session == "s1"
    assert principal.expires_unix_s == NOW_S + ACCESS_TOKEN_S


async def test_a_rotation_keeps_old_tokens_good_and_publishes_what_verifies(process):
    before = process.token()
    active = await process.signing.rotate(actor="operator")
    process.tokens.verify(before)
    process.tokens.verify(process.token())
    states = [key.state for key in await process.signing.list()]
    assert sorted(states) == sorted([KeyState.ACTIVE, KeyState.PREVIOUS, KeyState.STANDBY])
    published = {key["kid"] for key in jwks(process.trust.keys())["keys"]}
    assert active.kid in published
    assert len(published) == 3


async def test_revoking_the_active_key_ends_its_tokens_and_moves_on(process):
    before = process.token()
    process.tokens.verify(before)
    (active,) = [k for k in await process.signing.list() if k.state is KeyState.ACTIVE]
    await process.signing.revoke(active.kid, actor="operator")
    with pytest.raises(Unauthenticated):
        process.tokens.verify(before)
    process.tokens.verify(process.token())
    # A file of the same id brings it back no more.
    public = process.files._folder / f"{active.kid}.pub"
    dev = next(process.files._folder.glob("dev-*.pub"), None) or process.files.development_key()
    source = next(process.files._folder.glob("dev-*.pub"))
    public.write_bytes(source.read_bytes())
    assert dev
    assert process.trust.find(active.kid) is None


async def test_an_unknown_key_is_not_found(process):
    with pytest.raises(NotFound):
        await process.signing.revoke("nobody-1", actor="operator")


async def test_a_node_key_cannot_say_operator_nor_another_node(process):
    (active,) = [k for k in await process.signing.list() if k.state is KeyState.ACTIVE]
    key = process.files.private_key(active.kid)
    claims = {
        "iss": "fra-1", "aud": "skerry", "sub": "ada", "tenant": "main",
        "iat": NOW_S, "exp": NOW_S + 60,
    }  # fmt: skip
    process.tokens.verify(signed(key, claims))
    for change in ({"scope": "operator"}, {"iss": "iad-1"}, {"iss": ""}, {"tenant": "nowhere"}):
        with pytest.raises((Unauthenticated, UnknownTenant)):
            process.tokens.verify(signed(key, {**claims, **change}))


async def test_a_tenant_pinned_elsewhere_and_a_suspended_one_are_refused(tmp_path):
    process = await opened(tmp_path, authority=Authority(frozenset({"fra"})))
    token = process.token()
    process.tokens.verify(token)
    elsewhere = TenantEntry(TenantId("main"), TenantState.ACTIVE, regions=("iad",))
    await process.control.write(lambda unit: unit.tenants.put(tenant_record(elsewhere)))
    await process.trust.refresh()
    with pytest.raises(Unauthenticated):
        process.tokens.verify(token)
    suspended = TenantEntry(TenantId("main"), TenantState.SUSPENDED)
    await process.control.write(lambda unit: unit.tenants.put(tenant_record(suspended)))
    await process.trust.refresh()
    with pytest.raises(Forbidden, match="suspended"):
        process.tokens.verify(token)
    await process.control.close()


async def test_another_process_learns_of_a_revocation_by_itself(process, tmp_path):
    reader = Process(tmp_path, is_writer=False)
    await reader.engine.open()
    await reader.trust.start()
    heard = asyncio.Event()
    reader.trust.listen(lambda _revocation: heard.set())
    token, other = process.token(), process.token(session="s2")
    reader.tokens.verify(token)
    await process.control.write(
        lambda unit: unit.revocations.add(
            "main", "session", "s1", at_s=NOW_S, until_s=NOW_S + 1_000
        )
    )
    await asyncio.wait_for(heard.wait(), 5)
    with pytest.raises(Unauthenticated, match="ended"):
        reader.tokens.verify(token)
    reader.tokens.verify(other)
    await reader.trust.close()
    await reader.control.close()


async def test_without_a_session_a_person_is_revoked_by_time(process):
    operator = process.files.development_key()
    token = mint(
        operator, tenant=TenantId("main"), person=PersonId("ada"), lifetime_s=60, now_unix_s=NOW_S
    )
    process.tokens.verify(token)
    await process.control.write(
        lambda unit: unit.revocations.add(
            "main", "person", "ada", at_s=NOW_S, until_s=NOW_S + 1_000
        )
    )
    await process.trust.refresh()
    with pytest.raises(Unauthenticated):
        process.tokens.verify(token)
    later = mint(
        operator, tenant=TenantId("main"), person=PersonId("ada"), lifetime_s=60,
        now_unix_s=NOW_S + 1,
    )  # fmt: skip
    process.tokens.verify(later)


async def test_a_lost_key_folder_is_mended_at_the_next_start(process, tmp_path):
    for path in (tmp_path / "keys").glob("fra-1-*.pem"):
        path.unlink()
    old = process.token()
    await process.signing.open()
    with pytest.raises(Unauthenticated):
        process.tokens.verify(old)
    process.tokens.verify(process.token())
