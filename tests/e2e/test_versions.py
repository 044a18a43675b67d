"""An app of the older schema version against a node of the newer one: lenses both ways."""

from pathlib import Path

from tests.e2e import survey_next
from tests.e2e.node_process import NodeProcess
from tests.e2e.phones import NORTH, phone_of, row_of, settle, sync_for
from tests.e2e.survey import Site
from tests.e2e.survey_next import Site as NextSite

SYNC_SECONDS = 2.0
NEXT = Path(survey_next.__file__)


async def test_an_older_app_and_a_newer_one_share_rows(tmp_path):
    with NodeProcess(data=tmp_path / "node", module=NEXT) as node:
        for person in ("old", "new"):
            node.set_member(NORTH, person)
        old = phone_of(node, tmp_path, "old")
        new = phone_of(node, tmp_path, "new", app=survey_next.app)
        old.insert(Site, space=NORTH, id="a", title="from the old", tags={"x"})
        new.insert(NextSite, space=NORTH, id="b", headline="FROM THE NEW", stars=3)
        await settle(old, new)
        assert row_of(new, NextSite, "a").headline == "FROM THE OLD"
        assert row_of(old, Site, "b").title == "from the new"
        old.edit(Site, "b", title="old again")
        new.edit(NextSite, "a", headline="NEW AGAIN", stars=5)
        await settle(old, new)
        assert row_of(new, NextSite, "b").headline == "OLD AGAIN"
        assert row_of(new, NextSite, "b").stars == 3
        assert row_of(old, Site, "a").title == "new again"
        assert not old.rejected()
        assert not old.status.damaged
        await old.close()
        await new.close()


async def test_a_queue_of_the_older_app_survives_the_node_and_the_phone_being_updated(tmp_path):
    with NodeProcess(data=tmp_path / "node") as node:
        for person in ("ada", "ben"):
            node.set_member(NORTH, person)
        ada = phone_of(node, tmp_path, "ada")
        ada.insert(Site, space=NORTH, id="a", title="first")
        await settle(ada)
        ada.edit(Site, "a", title="queued by the older app")
        await ada.close()
        node.stop()
        node.module = NEXT
        node.start()
        ada = phone_of(node, tmp_path, "ada", app=survey_next.app)
        assert row_of(ada, NextSite, "a").headline == "QUEUED BY THE OLDER APP"
        ben = phone_of(node, tmp_path, "ben", app=survey_next.app)
        await settle(ada, ben)
        assert row_of(ben, NextSite, "a").headline == "QUEUED BY THE OLDER APP"
        await ada.close()
        await ben.close()


async def test_an_app_ahead_of_its_node_waits_and_keeps_its_queue(node, tmp_path):
    ada = phone_of(node, tmp_path, "ada", app=survey_next.app)
    ada.insert(NextSite, space=NORTH, id="a", headline="EARLY")
    assert "schema-ahead" in await sync_for(ada, SYNC_SECONDS)
    assert len(ada.pending()) == 1
    node.stop()
    node.module = NEXT
    node.start()
    await settle(ada)
    assert row_of(ada, NextSite, "a").headline == "EARLY"
    await ada.close()
