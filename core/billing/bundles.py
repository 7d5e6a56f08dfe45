"""What can be bought. Prices are code: a purchase keeps a copy of its own, so a change here touches no old one."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import ClofyError, InvalidInput, Kind

DEFAULT = "usd"  # whoever names no currency pays in this


@dataclass(frozen=True)
class Bundle:
    """Credits at a price, in several currencies.

    credits_mc: millicredits (1 credit = 1,000 mc)
    prices: in the smallest unit of each currency, as Stripe counts it (money.py); set by hand, not by a rate of the day
    """

    slug: str
    name: str
    credits_mc: int
    prices: Mapping[str, int]

    @property
    def amount_minor(self) -> int:
        """In the default currency."""
        return self.prices[DEFAULT]

    def price_in(self, currency: str) -> int:
        """Raises InvalidInput, which names the currencies that there are."""
        if currency not in self.prices:
            raise InvalidInput(field="currency", rule=f"must be one of {', '.join(self.prices)}")
        return self.prices[currency]


class UnknownBundle(ClofyError):
    """There is no such bundle."""

    kind = Kind.INVALID


# In the order of the page. A bundle that is no longer sold stays in the history of this file, and in its purchases.
BUNDLES = (
    Bundle("starter", "Starter", 500_000, {"usd": 500, "eur": 500, "gbp": 450, "jpy": 800, "kwd": 1_600}),
    Bundle("plus", "Plus", 1_650_000, {"usd": 1_500, "eur": 1_500, "gbp": 1_300, "jpy": 2_400, "kwd": 4_700}),
    Bundle("studio", "Studio", 5_750_000, {"usd": 4_900, "eur": 4_900, "gbp": 4_200, "jpy": 7_800, "kwd": 15_200}),
)
BY_SLUG = {bundle.slug: bundle for bundle in BUNDLES}


def find(slug: str) -> Bundle:
    """The bundle of that name. Raises UnknownBundle."""
    bundle = BY_SLUG.get(slug)
    if bundle is None:
        raise UnknownBundle(bundle=slug[:100])
    return bundle


def name_of(slug: str) -> str:
    """What a bundle is called, also one that is no longer sold."""
    bundle = BY_SLUG.get(slug)
    return bundle.name if bundle else slug.replace("-", " ").title()
