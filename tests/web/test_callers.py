"""Where somebody comes from is what our edge says, never what they say themselves."""

from typing import Any

import pytest
from werkzeug.datastructures import Headers

from core.settings import Edge, Settings, settings
from tests.house import House
from web import security
from web.callers import client_ip

FORGED = ("X-Forwarded-For", "198.51.100.1"), ("X-Azure-ClientIP", "198.51.100.2"), ("Forwarded", "for=198.51.100.3")
EDGE_SAYS = ("X-Forwarded-For", "203.0.113.7")


@pytest.mark.parametrize(
    ("edge", "peer", "headers", "ip"),
    [
        (Edge.NONE, "192.0.2.9", [*FORGED], "192.0.2.9"),
        (Edge.NONE, "<local>", [*FORGED], ""),
        (Edge.PROXY, "172.18.0.5", [*FORGED, EDGE_SAYS], "203.0.113.7"),
        (Edge.PROXY, "172.18.0.5", [("X-Forwarded-For", "198.51.100.1, 203.0.113.7")], "203.0.113.7"),
        (Edge.PROXY, "172.18.0.5", [], ""),
        (Edge.PROXY, "9.9.9.9", [EDGE_SAYS], "9.9.9.9"),
        (Edge.FRONT_DOOR, "10.0.0.4", [*FORGED, ("X-Azure-SocketIP", "203.0.113.7")], "203.0.113.7"),
        (Edge.FRONT_DOOR, "10.0.0.4", [*FORGED, EDGE_SAYS], "203.0.113.7"),
        (Edge.FRONT_DOOR, "10.0.0.4", [("X-Azure-SocketIP", "nonsense")], ""),
        (Edge.FRONT_DOOR, "10.0.0.4", [("X-Azure-SocketIP", "2001:DB8::1")], "2001:db8::1"),
    ],
)
def test_the_address_is_the_one_that_our_edge_tells(
    edge: Edge, peer: str, headers: list[tuple[str, str]], ip: str
) -> None:
    assert client_ip(edge, Headers(headers), peer) == ip


@pytest.mark.parametrize(
    ("sent", "let_in"),
    [
        ([], False),
        ([("X-Azure-FDID", "f" * 36)], True),
        ([("X-Azure-FDID", "g" * 36)], False),
        ([("X-Azure-FDID", "f" * 36), ("X-Azure-FDID", "f" * 36)], False),
        ([("X-Azure-FDID", "f" * 36), ("X-Azure-FDID", "g" * 36)], False),
    ],
)
def test_only_our_own_front_door_is_let_in(
    house: House, monkeypatch: pytest.MonkeyPatch, sent: list[tuple[str, str]], let_in: bool
) -> None:
    behind = settings().model_copy(update={"edge": Edge.FRONT_DOOR, "front_door_id": "f" * 36})
    monkeypatch.setattr(security, "settings", lambda: behind)
    site = security.make_site()
    headers = Headers([("Host", site.host), *sent])

    if let_in:
        security.check_target(site, headers, "/", b"")
    else:
        with pytest.raises(security.AroundTheEdge):
            security.check_target(site, headers, "/", b"")


def test_a_front_door_without_its_id_stops_the_start(house: House) -> None:
    given: dict[str, Any] = settings().model_dump() | {"edge": "front-door"}

    with pytest.raises(ValueError, match="CLOFY_FRONT_DOOR_ID"):
        Settings(**given)
