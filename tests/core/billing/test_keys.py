import pytest

from core.settings import Secret, fault_of


@pytest.mark.parametrize("key", ["sk_test_51abcdef0123456789", "rk_test_51abcdef0123456789"])
def test_production_takes_no_key_of_stripes_test_mode(key: str) -> None:
    fault = fault_of(Secret.STRIPE_API_KEY, key, production=True)

    assert fault is not None
    assert "test mode" in fault
    assert key not in fault
    assert fault_of(Secret.STRIPE_API_KEY, key, production=False) is None
    assert fault_of(Secret.STRIPE_API_KEY, key.replace("test", "live"), production=True) is None
