"""People at the blog, each with headers of their own, and posts for them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from quart import Quart
from quart.typing import TestClientProtocol as Client
from quart.wrappers import Response

from core.accounts.models import Role
from core.blog.models import Post
from core.database import transaction
from tests.core.billing.kit import sign_in
from tests.core.blog.kit import make_editor, make_post, source
from tests.makers import make_account


@dataclass
class Somebody:
    """A browser without a jar: each call brings its own headers."""

    client: Client
    headers: dict[str, str]
    id: UUID | None = None

    async def call(self, method: str, path: str, json: Any = None, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.open(path, method=method, json=json, headers=self.headers | named)
        assert isinstance(answer, Response)
        return answer

    async def get(self, path: str, **headers: str) -> Response:
        return await self.call("GET", path, **headers)

    async def read(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return await answer.get_data(as_text=True)


async def somebody(app: Quart, role: Role) -> Somebody:
    async with transaction() as session:
        account_id = await make_account(session, role=role)
    return Somebody(app.test_client(use_cookies=False), await sign_in(account_id), account_id)


async def published(*, slug: str = "", **more: str) -> tuple[Post, str]:
    slug = slug or f"web-{uuid4().hex}"
    return await make_post(source(slug=slug, **more), await make_editor()), slug
