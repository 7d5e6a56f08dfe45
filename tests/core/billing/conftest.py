from collections.abc import AsyncIterator

import pytest

from core.billing import stripe_api
from tests.house import House


@pytest.fixture(autouse=True)
async def _stripe(house: House) -> AsyncIterator[None]:
    """Stripe's stand-in is there, and the connections to it are given back after each test."""
    yield
    await stripe_api.close()
