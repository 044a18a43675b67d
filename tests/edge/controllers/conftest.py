"""A gate over a fake node, with tokens, called in this process."""

import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from core.ids import PersonId, TenantId
from edge.app import build_gate
from edge.services.tokens import mint
from edge.settings import Settings
from edge.storage.key_files import KeyFiles
from tests.edge.controllers.fakes import FakeNode


@dataclass
class Served:
    node: Any
    gate: Any
    settings: Settings
    client: httpx.AsyncClient

    def token(self, *, person="ada", tenant="main", is_admin=False, lifetime_s=600):
        key = KeyFiles(self.settings.keys_folder).development_key()
        return mint(
            key,
            tenant=TenantId(tenant),
            person=PersonId(person),
            is_admin=is_admin,
            lifetime_s=lifetime_s,
            now_unix_s=int(time.time()),
        )

    def bearer(self, **claims):
        return {"authorization": f"Bearer {self.token(**claims)}"}


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path, origins=("https://app.example.org",))


@pytest.fixture
async def served(settings):
    node: Any = FakeNode()
    gate: Any = build_gate(node, settings)
    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield Served(node, gate, settings, client)
