"""What no merge can keep, the primary keeps: uniqueness, references, trees, escrow."""

# pyright: reportArgumentType=false

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.crdt.tree_parent import closes_cycle
from tests.edge.services.harness import delete, edit, insert, outcomes, restore, running


def code_of(receipt):
    return None if receipt is None else receipt.code


async def living(node, collection):
    return {row for (name, row), state in (await node.rows()).items()
            if name == collection and state.is_alive}  # fmt: skip


async def test_unique_values_one_by_one(node):
    ann = await node.device("ann")
    assert await ann.push(insert("folder", "f1", name="a")) is None
    receipt = await ann.push(insert("folder", "f2", name="a"))
    assert code_of(receipt) == "not-unique"
    assert receipt is not None
    assert receipt.fields == ["name"], "the person is told which field"
    assert await ann.push(insert("folder", "f2", name="A")) is None, "case differs"
    assert code_of(await ann.push(edit("folder", "f2", name="a"))) == "not-unique"
    assert await ann.push(insert("folder", "f3")) is None, "never written does not count"
    assert (
        await ann.push(insert("folder", "f4", name=None), insert("folder", "f5", name=None)) is None
    )
    assert await ann.push(delete("folder", "f1")) is None
    assert await ann.push(edit("folder", "f2", name="a")) is None, "dead rows do not count"
    assert code_of(await ann.push(restore("folder", "f1"))) == "not-unique"
    await node.check()


async def test_a_unique_value_given_up_is_taken_by_the_next_mutation_of_one_push(node):
    """A phone that was offline sends both at once: they share a commit, and a wave."""
    ann = await node.device("ann")
    assert (
        await ann.push(insert("folder", "f1", name="a"), insert("folder", "f2", name="b")) is None
    )
    assert await ann.push(insert("folder", "f3", name="c")) is None
    answer = await ann.send(
        ann.mutation(edit("folder", "f1", name="free")),
        ann.mutation(edit("folder", "f2", name="a")),
        ann.mutation(delete("folder", "f3")),
        ann.mutation(insert("folder", "f4", name="c")),
        ann.mutation(insert("folder", "f5", name="c")),
        ann.mutation(edit("folder", "f4", name="b")),
    )
    assert outcomes(answer) == {
        3: "merged", 4: "merged", 5: "merged", 6: "merged", 7: "rejected", 8: "merged",
    }  # fmt: skip
    assert await node.value("folder", "f2", "name") == "a"
    await node.check()


async def test_unique_within_a_space_or_the_tenant(node):
    ann = await node.device("ann")
    await node.join("ann", "south")
    assert await ann.push(insert("folder", "f1", name="a")) is None
    assert await ann.push(insert("folder", "f2", "south", name="a")) is None
    assert await ann.push(insert("ticket", "t1", code="a")) is None
    assert code_of(await ann.push(insert("ticket", "t2", "south", code="a"))) == "not-unique"


async def test_two_inserts_of_one_value_in_one_group(node):
    devices = [await node.device(f"p{n}") for n in range(4)]
    answers = await asyncio.gather(
        *(
            device.send(
                device.mutation(insert("item", f"before-{device.number}", visits={"add": 1})),
                device.mutation(insert("folder", f"f{device.number}", name="same")),
                device.mutation(insert("item", f"after-{device.number}", visits={"add": 1})),
            )
            for device in devices
        )
    )
    found = [outcomes(answer) for answer in answers]
    assert sorted(outcome[2] for outcome in found) == ["merged"] + ["rejected"] * 3
    assert all(outcome[1] == outcome[3] == "merged" for outcome in found)
    assert len(await living(node, "folder")) == 1
    await node.check()


async def test_two_inserts_of_one_value_in_one_mutation(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    answers = await asyncio.gather(
        ann.send(
            ann.mutation(insert("folder", "f1", name="same"), insert("folder", "f2", name="same")),
            ann.mutation(insert("item", "i1", title="x")),
        ),
        bob.send(bob.mutation(insert("item", "i2", visits={"add": 3}))),
    )
    assert [outcomes(answer) for answer in answers] == [
        {1: "rejected", 2: "merged"},
        {1: "merged"},
    ]
    assert answers[0].receipts[0].code == "not-unique"
    assert await living(node, "folder") == set()
    assert await node.value("item", "i2", "visits") == 3
    await node.check()


async def test_a_derived_row_that_breaks_uniqueness_takes_its_cause_with_it(node):
    """The author's own row is merged before the derived one fails: digests must not keep it."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await bob.push(insert("ticket", "t0", code="taken"))
    assert await ann.push(insert("ticket", "t1", code="x", twin="y")) is None
    assert code_of(await ann.push(insert("ticket", "t2", code="z", twin="taken"))) == "not-unique"
    assert code_of(await ann.push(insert("ticket", "t3", code="w", twin="w"))) == "not-unique"
    assert await living(node, "ticket") == {"t0", "t1", "t1-twin"}
    await node.check()
    await bob.pull()


async def test_a_refused_wave_leaves_no_conflicts_behind(node):
    """What is logged for a mutation that the database then refuses is taken back."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(insert("ticket", "t1", code="a", count=1))
    await bob.pull()
    receipt = await bob.push(
        edit("ticket", "t1", count=2),
        insert("ticket", "t2", code="b"),
        insert("ticket", "t3", code="b"),
    )
    assert code_of(receipt) == "not-unique"
    assert await node.sql("SELECT * FROM sk_conflict") == []
    assert await node.value("ticket", "t1", "count") == 1
    await node.check()


async def test_references_must_be_there(node):
    ann = await node.device("ann")
    await node.join("ann", "south")
    assert code_of(await ann.push(insert("task", "t1", folder="f1"))) == "reference-missing"
    await ann.push(insert("folder", "f1", name="a"))
    await ann.push(insert("folder", "far", "south", name="a"))
    assert await ann.push(insert("task", "t1", folder="f1")) is None
    assert code_of(await ann.push(edit("task", "t1", folder="far"))) == "reference-missing"
    assert (
        await ann.push(insert("folder", "f2", name="b"), insert("task", "t2", folder="f2")) is None
    )
    assert await ann.push(edit("task", "t2", folder=None)) is None


async def test_reject_cascade_and_clear(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(insert("folder", "f1", name="a"))
    await ann.push(insert("kept", "k1", folder="f1"))
    assert code_of(await ann.push(delete("folder", "f1"))) == "row-referenced"
    await ann.push(edit("kept", "k1", folder=None))
    for row in ("t1", "t2"):
        await ann.push(insert("task", row, folder="f1"))
        await ann.push(insert("step", f"s-{row}", task=row))
        await ann.push(insert("bookmark", f"b-{row}", task=row))
    await bob.pull()
    assert await ann.push(delete("folder", "f1")) is None
    assert await living(node, "task") == await living(node, "step") == set()
    assert await living(node, "bookmark") == {"b-t1", "b-t2"}
    assert await node.value("bookmark", "b-t1", "task") is None
    assert (await node.row("task", "t1")).alive[1] == 1, "the primary is the author"
    logged = await node.sql("SELECT collection, row, cause_n, cause_counter FROM sk_primary_change")
    assert len(logged) == 6
    assert {(n, counter) for _, _, n, counter in logged} == {(ann.number, ann.counter)}
    await bob.pull()
    assert not bob.replica.rows["step", "s-t1"].is_alive
    await node.check()


async def test_what_was_deleted_meanwhile_cannot_be_referred_to_again(node):
    """Law 24: a restored row would bring back a reference to a row that is gone."""
    ann = await node.device("ann")
    await ann.push(insert("folder", "f1", name="a"))
    await ann.push(insert("task", "t1", folder="f1"))
    await ann.push(delete("task", "t1"))
    await ann.push(delete("folder", "f1"))
    assert code_of(await ann.push(restore("task", "t1"))) == "reference-missing"
    assert code_of(await ann.push(insert("task", "t1"))) == "reference-missing"
    assert await ann.push(insert("task", "t1", folder=None)) is None


@pytest.mark.parametrize("is_reversed", [False, True])
async def test_a_cascade_and_a_new_grandchild_in_one_group(node, is_reversed):
    """Deleting reaches further than its own row: what comes in beside it must not dangle."""
    ann, bob = await node.device("ann"), await node.device("bob")
    await ann.push(insert("folder", "f1", name="a"), insert("task", "t1", folder="f1"))
    pushes = [
        (ann, ann.mutation(delete("folder", "f1"))),
        (bob, bob.mutation(insert("step", "s1", task="t1"))),
    ]
    pushes = pushes[::-1] if is_reversed else pushes
    await asyncio.gather(*(device.send(made) for device, made in pushes))
    rows = await node.rows()
    step = rows.get(("step", "s1"))
    assert step is None or not step.is_alive or rows["task", "t1"].is_alive
    await node.check()


async def test_moves_that_would_close_a_cycle(node):
    ann, bob = await node.device("ann"), await node.device("bob")
    for row in "abc":
        await ann.push(insert("folder", row, name=row))
    await bob.pull()
    assert await ann.push(edit("folder", "a", parent="b")) is None
    receipt = await bob.push(edit("folder", "b", parent="a"))
    assert receipt is not None
    assert receipt.outcome == "superseded"
    assert receipt.conflicts[0].loser.value == "a"
    assert await node.value("folder", "b", "parent") is None
    assert await node.value("folder", "a", "parent") == "b"
    await ann.push(edit("folder", "c", parent="c"))
    assert await node.value("folder", "c", "parent") is None
    await bob.pull()
    await node.check()


MOVES = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.none() | st.sampled_from("abcde")),
        min_size=1, max_size=3, unique_by=lambda move: move[0],
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[*HealthCheck])
@given(groups=st.lists(MOVES, min_size=1, max_size=3))
async def test_trees_stay_acyclic_under_concurrent_moves(tmp_path_factory, groups):
    """Law 23: several devices, several moves per mutation, several pushes per commit."""
    async with running(tmp_path_factory.mktemp("trees")) as node:
        devices = [await node.device(f"p{n}") for n in range(3)]
        for row in "abcde":
            await devices[0].push(insert("folder", row, name=row))
        for group in groups:
            sends = []
            for index, moves in enumerate(group):
                device = devices[index % 3]
                changes = [edit("folder", row, parent=parent) for row, parent in moves]
                sends.append(device.send(device.mutation(*changes)))
            await asyncio.gather(*sends)
            rows = {key[1]: state for key, state in (await node.rows()).items()}
            parents = {
                row: (state.fields.get("parent") or [0, 0, None])[2] for row, state in rows.items()
            }
            assert not any(closes_cycle(row, parent, parents) for row, parent in parents.items())
        await node.check()


@settings(max_examples=25, suppress_health_check=[*HealthCheck])
@given(
    stock=st.integers(1, 12),
    asked=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["use", "lease", "add"]), st.integers(1, 5)),
        max_size=25,
    ),
)
async def test_stock_is_never_negative(tmp_path_factory, stock, asked):
    """Law 19, in every commit, in groups of three."""
    async with running(tmp_path_factory.mktemp("stock")) as node:
        devices = [await node.device(f"p{n}") for n in range(3)]
        await devices[0].push(insert("item", "i", stock={"add": stock}))
        expected = stock
        for start in range(0, len(asked), 3):
            group = asked[start : start + 3]
            answers = await asyncio.gather(
                *(
                    devices[n].send(devices[n].mutation(edit("item", "i", stock={name: quantity})))
                    for n, name, quantity in group
                )
            )
            for (_, name, quantity), answer in zip(group, answers, strict=True):
                if answer.receipts:
                    assert answer.receipts[0].code == "escrow-exhausted"
                else:
                    expected += {"use": -quantity, "lease": 0, "add": quantity}[name]
            value = await node.value("item", "i", "stock")
            assert value == expected >= 0
            for _, added, granted, used, _ in (await node.row("item", "i")).fields["stock"] or ():
                assert 0 <= used <= granted
                assert added >= 0
        await node.check()


async def test_stock_that_rules_take_is_never_negative_either(node):
    """Derived changes of one group meet in rows that none of the mutations names."""
    devices = [await node.device(f"p{n}") for n in range(4)]
    await devices[0].push(insert("item", "i", stock={"add": 2}))
    answers = await asyncio.gather(
        *(d.send(d.mutation(insert("ticket", f"t{d.number}", sells="i"))) for d in devices)
    )
    found = [outcome for answer in answers for outcome in outcomes(answer).values()]
    assert sorted(found) == ["merged", "merged", "rejected", "rejected"]
    assert await node.value("item", "i", "stock") == 0
    await node.check()
