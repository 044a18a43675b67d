"""Audit entries and revocations: numbered once and for all, paged, trimmed."""

from edge.ports.identity_records import AuditRecord, RevocationRecord


def entry(actor, subject, *, at_ms=5, tenant="t"):
    return AuditRecord(77, tenant, at_ms, actor, "act", subject, "1.2.3.4", {"way": "mail"})


async def add(control, *entries):
    await control.write(lambda unit: [unit.audit.add(one) for one in entries])


async def listed(control, *, subject=None, after=0, limit=99):
    return await control.read(
        lambda unit: unit.audit.list("t", subject=subject, after=after, limit=limit)
    )


async def test_a_person_is_found_as_subject_and_as_actor_in_pages(control):
    await add(control, entry("p", "q"), entry("q", "p"), entry("p", "p"), entry("q", "r"))
    assert [one.id for one in await listed(control)] == [1, 2, 3, 4]
    assert [one.id for one in await listed(control, subject="p")] == [1, 2, 3]
    assert [one.id for one in await listed(control, subject="p", limit=2)] == [1, 2]
    assert [one.id for one in await listed(control, subject="p", after=2)] == [3]
    assert [one.id for one in await listed(control, after=1, limit=2)] == [2, 3]
    assert (await listed(control))[0].detail == {"way": "mail"}


async def test_a_pseudonym_replaces_a_person_everywhere(control):
    await add(control, entry("p", "q"), entry("q", "p"), entry("q", "r"))
    await control.write(lambda unit: unit.audit.pseudonymise("t", "p", pseudonym="erased-1"))
    found = await listed(control)
    assert [(one.actor, one.subject) for one in found] == [
        ("erased-1", "q"), ("q", "erased-1"), ("q", "r"),
    ]  # fmt: skip
    assert [(one.address, one.detail) for one in found] == [
        ("", {}), ("", {}), ("1.2.3.4", {"way": "mail"}),
    ]  # fmt: skip


async def test_trimmed_entries_numbers_are_not_given_again(control):
    await add(control, entry("p", "q"), entry("p", "q", tenant="u"), entry("p", "q", at_ms=9))
    trims = [
        await control.write(lambda unit: unit.audit.trim(before_ms=9, limit=1)) for _ in range(3)
    ]
    assert trims == [1, 1, 0]
    await control.write(lambda unit: unit.audit.trim(before_ms=99, limit=9))
    await add(control, entry("p", "q"))
    assert [one.id for one in await listed(control)] == [4]


async def test_revocations_are_read_in_the_order_they_were_made(control):
    def fill(unit):
        unit.revocations.add("u", "session", "s", at_s=1, until_s=10)
        unit.revocations.add("t", "person", "p", at_s=2, until_s=20)

    await control.write(fill)
    second = RevocationRecord(2, "t", "person", "p", 2, 20)
    found = await control.read(lambda unit: unit.revocations.after(0, limit=9))
    assert found == [RevocationRecord(1, "u", "session", "s", 1, 10), second]
    assert await control.read(lambda unit: unit.revocations.after(1, limit=9)) == [second]
    assert await control.read(lambda unit: unit.revocations.after(0, limit=1)) == found[:1]
    await control.write(lambda unit: unit.revocations.trim(now_s=20))
    assert await control.read(lambda unit: unit.revocations.after(0, limit=9)) == [second]
    await control.write(lambda unit: unit.revocations.trim(now_s=21))
    await control.write(fill)
    assert [r.id for r in await control.read(lambda u: u.revocations.after(2, limit=9))] == [3, 4]
