"""Posts in their editors' hands: nothing is lost, nothing is published twice, old addresses lead on."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core.blog import pages, posts
from core.blog.models import Post, PostPage, PostState
from core.blog.pages import SlugTaken
from core.database import transaction
from core.errors import InvalidInput, NotFound
from core.jobs import Job
from core.media import library
from core.media.library import MediaInUse
from core.queue import TaskName
from tests.core.blog.kit import make_editor, make_picture, make_post, source
from tests.workers.here import Here

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
async def editor(house: object) -> UUID:
    return await make_editor()


async def save(post: Post, text: str, version: int, editor: UUID) -> int:
    async with transaction() as session:
        return (await posts.save(session, post.id, source=text, version=version, made_by=editor)).version


async def move(post: Post, to: PostState, version: int = 1, at: datetime | None = None) -> None:
    async with transaction() as session:
        await posts.move(session, post.id, to=to, version=version, now=datetime.now(UTC), at=at)


async def page_of(slug: str) -> PostPage:
    async with transaction() as session:
        return await pages.find(session, slug)


async def state_of(post: Post) -> str:
    async with transaction() as session:
        return (await posts.get(session, post.id)).state


async def test_each_save_is_a_revision_and_the_same_text_again_is_none(editor: UUID) -> None:
    slug = f"saved-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.DRAFT)

    assert await save(post, source(slug=slug, body="Two."), 1, editor) == 2
    assert await save(post, source(slug=slug, body="Two."), 2, editor) == 2
    assert await save(post, source(slug=slug, body="Three."), 2, editor) == 3

    async with transaction() as session:
        kept = await posts.revisions(session, post.id)
        assert [one.number for one in kept] == [3, 2, 1]
        await posts.restore(session, post.id, revision_id=kept[-1].id, version=3, made_by=editor)
    async with transaction() as session:
        draft = await posts.look(session, await posts.get(session, post.id))
    assert (draft.post.version, draft.source.body) == (4, "Words.\n")


async def test_a_save_over_somebody_elses_is_refused_with_what_both_did(editor: UUID) -> None:
    slug = f"both-{uuid4().hex}"
    post = await make_post(source(slug=slug, body="One.\n\nTwo.\n\nThree."), editor, to=PostState.DRAFT)
    await save(post, source(slug=slug, body="One.\n\nTwo.\n\nThree, theirs."), 1, editor)

    with pytest.raises(posts.EditedMeanwhile) as refused:
        await save(post, source(slug=slug, body="One, mine.\n\nTwo.\n\nThree."), 1, editor)

    facts = refused.value.facts
    assert facts["version"] == 2
    assert str(facts["merged"]).endswith("One, mine.\n\nTwo.\n\nThree, theirs.\n")
    assert {part["side"] for part in facts["difference"]} == {"same", "mine", "theirs"}  # type: ignore[attr-defined]


async def test_of_many_editors_at_once_no_text_is_lost(editor: UUID) -> None:
    slug = f"many-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.DRAFT)
    texts = [source(slug=slug, body=f"Text {number}.") for number in range(12)]

    async def write(text: str) -> bool:
        try:
            await save(post, text, 1, editor)
        except posts.EditedMeanwhile:
            async with transaction() as session:
                await posts.keep_aside(session, post.id, source=text, version=1, made_by=editor)
            return False
        return True

    won = await asyncio.gather(*[write(text) for text in texts])

    assert sum(won) == 1
    async with transaction() as session:
        kept = await posts.revisions(session, post.id)
        sources = {(await posts.revision(session, post.id, one.id)).source for one in kept}
    assert sources >= set(texts)
    assert sorted(one.number for one in kept if one.number) == [1, 2]


async def test_a_source_has_so_many_lines_that_two_can_be_compared(editor: UUID) -> None:
    text = source(body="\n" * posts.MOST_LINES)
    post = await make_post(source(), editor, to=PostState.DRAFT)

    with pytest.raises(InvalidInput):
        await save(post, text, 1, editor)
    assert await save(post, text.replace("\n\n", "\n"), 1, editor) == 2


async def test_a_version_that_never_was_is_no_base(editor: UUID) -> None:
    post = await make_post(source(), editor, to=PostState.DRAFT)

    with pytest.raises(InvalidInput):
        await save(post, source(body="Other."), 7, editor)


async def test_publishing_twice_at_once_is_publishing_once(editor: UUID) -> None:
    slug = f"once-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.DRAFT)
    before = await pages.stamp()

    await asyncio.gather(*[move(post, PostState.PUBLISHED) for _ in range(6)])

    page = await page_of(slug)
    assert await pages.stamp() == before + 1
    assert page.published_at == (await _fresh(post)).published_at

    await asyncio.gather(*[move(post, PostState.DRAFT) for _ in range(6)])

    assert await pages.stamp() == before + 2
    with pytest.raises(NotFound):
        await page_of(slug)


async def _fresh(post: Post) -> Post:
    async with transaction() as session:
        return await posts.get(session, post.id)


async def test_what_is_saved_is_not_public_until_it_is_published(editor: UUID) -> None:
    slug = f"quiet-{uuid4().hex}"
    post = await make_post(source(slug=slug, body="First."), editor)
    await save(post, source(slug=slug, body="Second."), 1, editor)

    assert (await page_of(slug)).text == "First."
    await move(post, PostState.PUBLISHED, version=2)
    assert (await page_of(slug)).text == "Second."


async def test_an_old_address_leads_to_the_new_one_for_ever_and_to_no_other_post(editor: UUID) -> None:
    first, second, third = (f"{name}-{uuid4().hex}" for name in ("first", "second", "third"))
    post = await make_post(source(slug=first), editor)
    for version, slug in ((2, second), (3, third)):
        await save(post, source(slug=slug), version - 1, editor)
        await move(post, PostState.PUBLISHED, version=version)

    assert {(await page_of(slug)).slug for slug in (first, second, third)} == {third}
    other = await make_post(source(slug=first), editor, to=PostState.DRAFT)
    with pytest.raises(posts.NotReady, match="cannot be published"):
        await move(other, PostState.PUBLISHED)
    with pytest.raises(SlugTaken):
        async with transaction() as session:
            await pages.take_slug(session, other.id, first)


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("![](/media/a.webp)", "has no alternative text"),
        ("![A cat](https://elsewhere.example/a.png)", "not one of our own media"),
        ("![A cat](/media/a.webp)", "There is no picture"),
        ("# Big\n\nWords.", "begin with ##"),
        ("## Part\n\n#### Deep\n\nWords.", "one is left out"),
        ("[gone](/blog/there-is-no-such-post)", "leads nowhere"),
        ("", "no text"),
        ("<<<<<<< yours\na\n=======\nb\n>>>>>>> theirs", "still in the text"),
    ],
)
async def test_the_gate_says_what_readers_would_miss(editor: UUID, body: str, finding: str) -> None:
    post = await make_post(source(body=body), editor, to=PostState.DRAFT)

    with pytest.raises(posts.NotReady) as refused:
        await move(post, PostState.PUBLISHED)

    assert any(finding in one for one in refused.value.facts["findings"])  # type: ignore[attr-defined]
    assert await state_of(post) == PostState.DRAFT


async def test_a_picture_stays_for_as_long_as_a_public_post_shows_it(editor: UUID) -> None:
    cat, cat_path = await make_picture()
    cover, cover_path = await make_picture()
    text = source(body=f"![A cat]({cat_path})", cover=cover_path, cover_alt="A house")
    post = await make_post(text, editor)

    for media_id in (cat, cover):
        with pytest.raises(MediaInUse):
            async with transaction() as session:
                await library.remove(session, media_id)
    await move(post, PostState.ARCHIVED)

    async with transaction() as session:
        await library.remove(session, cat)
        await library.remove(session, cover)


async def test_a_scheduled_post_is_published_when_its_time_has_come_and_once(editor: UUID) -> None:
    slug = f"later-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.DRAFT)
    at = datetime.now(UTC) + timedelta(days=3)
    await asyncio.gather(*[move(post, PostState.SCHEDULED, at=at) for _ in range(4)])
    async with transaction() as session:
        mine = Job.payload["post"].astext == str(post.id)
        job = (await session.scalars(select(Job).where(Job.task == TaskName.PUBLISH_POST, mine))).one()
    assert job.available_at == at
    import workers.blog  # its Celery application reads the settings that `house` has set

    assert workers.blog.publish.name == TaskName.PUBLISH_POST
    async with Here.open() as here:
        await here.attempt(TaskName.PUBLISH_POST, job.id)  # a message that comes too early
        assert await state_of(post) == PostState.SCHEDULED

        async with transaction() as session:  # as if three days had passed
            await session.execute(update(Job).where(Job.id == job.id).values(available_at=func.now()))
            await session.execute(update(Post).where(Post.id == post.id).values(scheduled_at=func.now()))
        before = await pages.stamp()
        await asyncio.gather(*[here.attempt(TaskName.PUBLISH_POST, job.id) for _ in range(4)])

    assert await state_of(post) == PostState.PUBLISHED
    assert await pages.stamp() == before + 1
    assert isinstance(await page_of(slug), PostPage)


async def test_what_is_public_stays_as_it_is_until_the_time_of_what_follows_it(editor: UUID) -> None:
    old, new = f"as-it-is-{uuid4().hex}", f"as-it-will-be-{uuid4().hex}"
    post = await make_post(source(slug=old, title="As it is"), editor, to=PostState.UNLISTED)
    await save(post, source(slug=new, title="As it will be"), 1, editor)
    at = datetime.now(UTC) + timedelta(days=1)

    await move(post, PostState.SCHEDULED, at=at, version=2)

    assert (await page_of(old)).title == "As it is"
    with pytest.raises(NotFound):
        await page_of(new)
    async with transaction() as session:
        assert not await posts.publish_due(session, post.id, now=at - timedelta(seconds=1))
        assert await posts.publish_due(session, post.id, now=at)
    assert await state_of(post) == PostState.PUBLISHED
    assert (await page_of(old)).slug == (await page_of(new)).slug == new
    assert (await page_of(new)).title == "As it will be"


@pytest.mark.parametrize("public", [PostState.PUBLISHED, PostState.UNLISTED])
async def test_who_calls_a_time_off_leaves_public_what_was(editor: UUID, public: PostState) -> None:
    slug = f"stays-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=public)
    await save(post, source(slug=slug, title="Not yet"), 1, editor)
    at = datetime.now(UTC) + timedelta(days=1)
    await move(post, PostState.SCHEDULED, at=at, version=2)

    for _ in range(2):
        async with transaction() as session:
            await posts.call_off(session, post.id, now=datetime.now(UTC))

    async with transaction() as session:
        assert not await posts.publish_due(session, post.id, now=at)
    assert await state_of(post) == public
    assert (await page_of(slug)).title != "Not yet"


async def test_a_public_post_whose_next_text_became_unfit_keeps_its_page(editor: UUID) -> None:
    slug = f"unfit-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.PUBLISHED)
    at = datetime.now(UTC) + timedelta(days=1)
    await move(post, PostState.SCHEDULED, at=at)
    await save(post, source(slug=slug, body="![](/media/a.webp)"), 1, editor)

    async with transaction() as session:
        assert not await posts.publish_due(session, post.id, now=at)

    assert await state_of(post) == PostState.PUBLISHED
    assert "img" not in (await page_of(slug)).html


async def test_what_was_called_off_is_not_published_and_what_became_unfit_goes_back_to_review(editor: UUID) -> None:
    slug = f"off-{uuid4().hex}"
    post = await make_post(source(slug=slug), editor, to=PostState.DRAFT)
    at = datetime.now(UTC) + timedelta(days=1)
    await move(post, PostState.SCHEDULED, at=at)
    await move(post, PostState.DRAFT)
    async with transaction() as session:
        assert not await posts.publish_due(session, post.id, now=at + timedelta(hours=1))
    await move(post, PostState.SCHEDULED, at=at)
    await save(post, source(slug=slug, body="![](/media/a.webp)"), 1, editor)

    async with transaction() as session:
        assert not await posts.publish_due(session, post.id, now=at + timedelta(hours=1))

    assert await state_of(post) == PostState.REVIEW
