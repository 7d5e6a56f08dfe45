"""Sealed fields: what opens, what does not, and how a column comes under a new key."""

import secrets as random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import LargeBinary, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core import secrets
from core.database import engine, transaction
from core.sealing import SEALED_COLUMNS, NotOurs, SealedColumn, reseal, seal, under_older_keys, unseal
from core.settings import settings
from tests.house import House

OLD, NEW = random.token_hex(32), random.token_hex(32)


class Base(DeclarativeBase):
    """Apart from the product's: this table is of no migration."""


class Kept(Base):
    __tablename__ = "kept_for_a_test"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    words: Mapped[bytes | None] = mapped_column(LargeBinary)


WORDS = SealedColumn(Kept.words, key=Kept.id)
del SEALED_COLUMNS[WORDS.name]  # only in a test that has made the table


@pytest.fixture(autouse=True)
def _settings(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OLD)


def use(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    """Have these field keys, the newest first."""
    changed = settings().model_copy(update={"field_key": SecretStr(",".join(keys))})
    monkeypatch.setattr(secrets, "settings", lambda: changed)


@pytest.fixture
async def table(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setitem(SEALED_COLUMNS, WORDS.name, WORDS)
    async with engine().begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    async with engine().begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


def test_what_is_sealed_opens_in_its_place_and_nowhere_else() -> None:
    sealed = seal("totp:1", b"JBSWY3DP")

    assert unseal("totp:1", sealed) == b"JBSWY3DP"
    assert b"JBSWY3DP" not in sealed
    with pytest.raises(NotOurs):
        unseal("totp:2", sealed)


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert len({seal("totp:1", b"the same") for _ in range(100)}) == 100


@pytest.mark.parametrize("at", range(9 + 12 + 3 + 16))
def test_a_bit_that_was_changed_anywhere_is_noticed(at: int) -> None:
    broken = bytearray(seal("totp:1", b"abc"))
    broken[at] ^= 1

    with pytest.raises(NotOurs):
        unseal("totp:1", bytes(broken))


@pytest.mark.parametrize("length", range(40))
def test_what_is_cut_short_is_not_ours(length: int) -> None:
    with pytest.raises(NotOurs):
        unseal("totp:1", seal("totp:1", b"abc")[:length])


def test_both_keys_open_during_an_overlap_and_the_new_one_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    under_old = seal("totp:1", b"old")
    use(monkeypatch, NEW, OLD)
    under_new = seal("totp:1", b"new")

    assert unseal("totp:1", under_old) == b"old"
    use(monkeypatch, NEW)
    assert unseal("totp:1", under_new) == b"new"
    with pytest.raises(NotOurs):
        unseal("totp:1", under_old)


async def fill(count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    async with transaction() as session:
        session.add_all([Kept(id=one, words=WORDS.seal(one, str(one).encode())) for one in ids])
        session.add(Kept(id=uuid4(), words=None))
    return ids


async def reseal_all(limit: int) -> tuple[int, list[object]]:
    sealed, not_ours, after = 0, list[object](), None
    while True:
        async with transaction() as session:
            batch = await reseal(session, WORDS, after=after, limit=limit)
        if batch.last is None:
            return sealed, not_ours
        sealed, not_ours, after = sealed + batch.sealed, not_ours + batch.not_ours, batch.last


async def test_all_rows_come_under_the_new_key_in_batches(table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await fill(25)
    use(monkeypatch, NEW, OLD)
    async with transaction() as session:
        before = (await under_older_keys(session))[WORDS.name]

    assert await reseal_all(limit=10) == (25, [])

    assert before == 25
    use(monkeypatch, NEW)  # the old key is gone
    async with transaction() as session:
        rows = {row.id: row.words for row in await session.scalars(select(Kept))}
        assert (await under_older_keys(session))[WORDS.name] == 0
    assert {WORDS.unseal(one, rows[one] or b"") for one in ids} == {str(one).encode() for one in ids}
    assert await reseal_all(limit=10) == (0, [])


async def test_a_value_that_nobody_can_open_is_told_left_and_does_not_stop_the_others(
    table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted(await fill(6))
    async with transaction() as session:  # somebody has copied the second row's value into the first
        await session.execute(update(Kept).where(Kept.id == ids[0]).values(words=WORDS.seal(ids[1], b"another's")))
    use(monkeypatch, NEW, OLD)

    assert await reseal_all(limit=2) == (5, [ids[0]])


async def test_a_row_that_somebody_holds_is_left_for_the_next_run(table: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await fill(2)
    use(monkeypatch, NEW, OLD)
    async with transaction() as holder:
        await holder.execute(select(Kept).where(Kept.id == ids[0]).with_for_update())

        assert await reseal_all(limit=10) == (1, [])

    assert await reseal_all(limit=10) == (1, [])


@pytest.mark.parametrize("key", ["", "5b" * 31, "xx" * 32, "5b" * 33])
def test_a_key_that_is_none_stops_the_start_with_its_name(house: House, key: str) -> None:
    with pytest.raises(ValueError, match="CLOFY_FIELD_KEY"):
        type(settings())(**(settings().model_dump() | {"field_key": key}))
