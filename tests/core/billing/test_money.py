import pytest

from core.billing.bundles import BUNDLES, UnknownBundle, find, name_of
from core.billing.money import format_credits, format_money, step
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (500, "usd", "$5.00"),
        (4_900, "eur", "€49.00"),
        (123_456_789, "gbp", "£1,234,567.89"),
        (500, "jpy", "¥500"),
        (12_000, "krw", "KRW 12,000"),
        (1_250, "kwd", "KWD 1.250"),
        (500, "isk", "ISK 5"),
        (505, "ugx", "UGX 5.05"),
        (7, "chf", "CHF 0.07"),
        (-1_500, "usd", "-$15.00"),
    ],
)
def test_money_is_shown_with_the_decimals_of_its_currency(amount_minor: int, currency: str, shown: str) -> None:
    assert format_money(amount_minor, currency) == shown


@pytest.mark.parametrize(
    ("amount_mc", "shown"),
    [
        (500_000, "500"),
        (1_650_000, "1,650"),
        (250, "0.25"),
        (1_000_000_001, "1,000,000.001"),
        (-2_500, "-2.5"),
        (0, "0"),
    ],
)
def test_credits_are_shown_whole_or_with_what_is_behind_the_point(amount_mc: int, shown: str) -> None:
    assert format_credits(amount_mc) == shown


def test_a_larger_bundle_is_never_dearer_by_the_credit() -> None:
    for currency in BUNDLES[0].prices:
        prices = [bundle.prices[currency] / bundle.credits_mc for bundle in BUNDLES]
        assert prices == sorted(prices, reverse=True), currency

    assert len({bundle.slug for bundle in BUNDLES}) == len(BUNDLES)
    assert len({tuple(bundle.prices) for bundle in BUNDLES}) == 1


def test_every_price_is_one_that_stripe_moves() -> None:
    for bundle in BUNDLES:
        for currency, amount_minor in bundle.prices.items():
            assert amount_minor > 0
            assert amount_minor % step(currency) == 0, (bundle.slug, currency)


@pytest.mark.parametrize(
    ("currency", "smallest"), [("usd", 1), ("jpy", 1), ("kwd", 10), ("bhd", 10), ("isk", 100), ("ugx", 100)]
)
def test_the_smallest_amount_that_stripe_moves(currency: str, smallest: int) -> None:
    assert step(currency) == smallest


def test_a_bundle_is_found_by_its_slug_alone() -> None:
    assert find("plus").name == "Plus"
    assert name_of("a-former-one") == "A Former One"
    with pytest.raises(UnknownBundle):
        find("Plus")


def test_a_bundle_has_a_price_in_each_currency_that_it_names() -> None:
    assert find("starter").price_in("kwd") == 1_600
    with pytest.raises(InvalidInput) as refused:
        find("starter").price_in("chf")
    assert (refused.value.field, refused.value.rule) == ("currency", "must be one of usd, eur, gbp, jpy, kwd")
