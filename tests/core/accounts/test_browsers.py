import pytest

from core import secrets
from core.accounts import browsers

EMAIL = "ada@people.example"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those that are accepted, the one in use first."""
    accepted = ["the-key-of-now"]
    monkeypatch.setattr(secrets, "valid", lambda _: tuple(accepted))
    return accepted


@pytest.mark.usefixtures("house")
def test_a_browser_is_known_as_long_as_its_key_is_accepted_and_lasts_as_long_as_it_is_in_use(keys: list[str]) -> None:
    cookie = browsers.make(EMAIL)
    assert browsers.known(cookie, email=EMAIL)
    assert browsers.lasts(cookie, email=EMAIL)

    keys.insert(0, "the-next-key")
    assert browsers.known(cookie, email=EMAIL)
    assert not browsers.lasts(cookie, email=EMAIL)
    assert browsers.lasts(browsers.make(EMAIL), email=EMAIL)

    keys.remove("the-key-of-now")
    assert not browsers.known(cookie, email=EMAIL)


@pytest.mark.usefixtures("house")
@pytest.mark.parametrize("cookie", [None, "", "x", ".", f"{'x' * 22}.", f"{'x' * 22}.%", f"{'x' * 21}.AAAA"])
def test_what_we_did_not_sign_makes_nobody_known(cookie: str | None) -> None:
    assert browsers.known(cookie, email=EMAIL) == ""
    assert not browsers.lasts(cookie, email=EMAIL)
    assert browsers.known(browsers.make(EMAIL), email="no address") == ""
    assert browsers.known(browsers.make(EMAIL), email="eve@people.example") == ""
