"""Amounts as Stripe counts them, in a currency's smallest unit, and as people read them."""

# Decimals of amounts in Stripe's API, where they are not two (docs.stripe.com/currencies).
NO_DECIMALS = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())  # noqa: SIM905  # a list of words reads better
THREE_DECIMALS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
# These have no decimals in life, but two in Stripe's API, always 00 (same page, "Special cases").
SHOWN_WHOLE = frozenset(("isk", "ugx"))
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def decimals(currency: str) -> int:
    """How many digits of an amount in Stripe's API are behind the point."""
    if currency in NO_DECIMALS:
        return 0
    return 3 if currency in THREE_DECIMALS else 2


def step(currency: str) -> int:
    """The smallest amount that Stripe moves, of which all others are multiples; in the unit of its API.

    The last digit of three is always 0, and so are the two that a currency has in the API alone (same page).
    """
    if currency in THREE_DECIMALS:
        return 10
    return 100 if currency in SHOWN_WHOLE else 1


def format_money(amount_minor: int, currency: str) -> str:
    """An amount as people read it, as "$5.00", "¥500" or "KWD 1.250".

    amount_minor: in the smallest unit of Stripe's API; `currency` in lower case, as there.
    """
    places = decimals(currency)
    whole, part = divmod(abs(amount_minor), 10**places)
    digits = f"{whole:,}"
    if places and not (currency in SHOWN_WHOLE and part == 0):
        digits += f".{part:0{places}}"
    sign = "-" if amount_minor < 0 else ""
    return sign + SYMBOLS.get(currency, f"{currency.upper()} ") + digits


def format_credits(amount_mc: int) -> str:
    """Millicredits as people read credits, as "1,650" or "0.25"."""
    whole, part = divmod(abs(amount_mc), 1000)
    digits = f"{whole:,}.{part:03}".rstrip("0").rstrip(".")
    return f"-{digits}" if amount_mc < 0 else digits
