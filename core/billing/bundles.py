"""What can be bought. Prices are code: a purchase keeps a copy of its own, so a change here touches no old one."""

from dataclasses import dataclass

from core.errors import ClofyError, Kind


@dataclass(frozen=True)
class Bundle:
    """Credits at a price.

    credits_mc: millicredits (1 credit = 1,000 mc)
    amount_minor: in the currency's smallest unit
    """

    slug: str
    name: str
    credits_mc: int
    amount_minor: int
    currency: str


class UnknownBundle(ClofyError):
    """There is no such bundle."""

    kind = Kind.INVALID


# In the order of the page. A bundle that is no longer sold stays in the history of this file, and in its purchases.
BUNDLES = (
    Bundle("starter", "Starter", credits_mc=500_000, amount_minor=500, currency="usd"),
    Bundle("plus", "Plus", credits_mc=1_650_000, amount_minor=1_500, currency="usd"),
    Bundle("studio", "Studio", credits_mc=5_750_000, amount_minor=4_900, currency="usd"),
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
