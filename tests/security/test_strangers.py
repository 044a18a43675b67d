"""What strangers cannot do to a phone, and keys that prove nothing."""

import pytest

from tests.security.attacked import attacked_node
from tests.security.phones import PASSWORD, text_of


async def test_a_stranger_does_not_use_up_the_refreshes_of_a_session(tmp_path):
    async with attacked_node(tmp_path, limits="refresh.device=3/1m") as node:
        phone, stranger = await node.phone().sign_in(), node.phone()
        forged = f"skr_{'A' * 43}.0.{phone.session}.main"
        for _ in range(10):
            assert (await stranger.refresh(forged)).status_code == 400
        for _ in range(3):
            assert (await phone.refresh()).status_code == 200
        limited = await phone.refresh()
        assert limited.status_code == 429
        assert 0 < limited.json()["retry_after_ms"] <= 20_000


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("first", ["00", "01"])
async def test_a_key_that_anybody_can_sign_for_is_refused(tmp_path, first, sign):
    async with attacked_node(tmp_path) as node:
        point = bytes.fromhex(first) + bytes(30) + bytes([sign])
        phone = node.phone()
        device = phone.device()
        device["key"] = text_of(point)
        device["proof"]["signature"] = text_of(bytes.fromhex("01") + bytes(63))
        body = {"device": device, "tenant": "main"}
        answer = await node.client.post("/v1/auth/anonymous", json=body)
        assert answer.json()["fault"] == "invalid-grant"


async def test_the_right_password_of_a_disabled_account_reads_like_a_wrong_one(tmp_path):
    async with attacked_node(tmp_path) as node:
        phone = await node.phone().register(node, "ada@example.org")
        path = f"/v1/admin/accounts/{phone.person}"
        await node.operate("PATCH", path, json={"state": "disabled"})
        right = await node.phone().password("ada@example.org", PASSWORD)
        wrong = await node.phone().password("ada@example.org", "not this password")
        assert right.status_code == wrong.status_code == 400
        assert right.json()["detail"] == wrong.json()["detail"]
