"""Two primaries of one epoch do not stay so: one goes on in the next epoch, the other one waits."""

from core.fleet import Leadership, NodeEntry, NodeState, Role
from edge.services.fleet.leading import Leading, LeadingParts

EPOCH = 4


class Parts:
    """A primary's parts that note in which role it wants to be started again."""

    def __init__(self, name):
        self.restarts = []
        self.own = entry(name)

    def leading(self):
        async def nothing(*_arguments):
            return {}

        return Leading(
            LeadingParts(
                own=self.own,
                role=Role.PRIMARY,
                epoch=EPOCH,
                nodes=list,
                leader=lambda: None,
                peers=None,  # pyright: ignore[reportArgumentType]  (nobody is asked)
                sequences=dict,
                commits=nothing,
                restart=lambda role, claim: self.restarts.append((role, claim)),
                pause=lambda _is_paused: None,
                fence_out=nothing,  # pyright: ignore[reportArgumentType]
                vault=nothing,  # pyright: ignore[reportArgumentType]
                missing=nothing,  # pyright: ignore[reportArgumentType]
            )
        )


def entry(name):
    return NodeEntry(name, "r", f"http://{name}", f"http://{name}:5001", NodeState.JOINED, 0)


def claim_of(name, epoch):
    own = entry(name)
    return Leadership(epoch, own.node, own.url, own.grpc_url)


async def test_the_first_by_name_goes_on_in_the_next_epoch():
    parts = Parts("edge-ams")
    answer = await parts.leading().hear(claim_of("edge-syd", EPOCH))
    assert answer == claim_of("edge-ams", EPOCH + 1)
    assert parts.restarts == [(Role.PRIMARY, answer)]


async def test_the_other_one_waits_until_it_hears_of_that_epoch():
    parts = Parts("edge-syd")
    leading = parts.leading()
    assert await leading.hear(claim_of("edge-ams", EPOCH)) == claim_of("edge-syd", EPOCH)
    assert parts.restarts == []
    onward = claim_of("edge-ams", EPOCH + 1)
    assert await leading.hear(onward) == onward
    assert parts.restarts == [(Role.EDGE, onward)]


async def test_an_older_claim_and_one_of_nobody_are_no_tie():
    parts = Parts("edge-ams")
    leading = parts.leading()
    await leading.hear(claim_of("edge-syd", EPOCH - 1))
    await leading.hear(Leadership(EPOCH, "", "", ""))
    assert parts.restarts == []
