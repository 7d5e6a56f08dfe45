"""Ports that are ours from their choice to the end, and whether it is our process that answers on one."""

import http.client
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.processes import free_port

LISTENING = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp writes it


class Held:
    """Ports of 127.0.0.1 that are kept for our children."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def take(self, port: int) -> bool:
        """Whether the port is ours from now on.

        It is bound and not listened on: a child may do that, for servers set SO_REUSEADDR, but the kernel gives the
        port to no outgoing connection any more. Another sandbox could bind it too; the abstract name keeps it off.
        """
        name, bound = socket.socket(socket.AF_UNIX), socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if sys.platform == "linux":
                name.bind(f"\0clofy-sandbox-port-{port}")
            bound.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            bound.close()
            return False
        self.sockets += [name, bound]
        return True

    def take_any(self) -> int:
        while not self.take(port := free_port()):
            pass
        return port

    def release(self) -> None:
        while self.sockets:
            self.sockets.pop().close()


def answers(url: str, pid: int) -> bool:
    """Whether a GET of `url`, on 127.0.0.1, gives a 2xx, and the process `pid` is who listens there."""
    parts = urlsplit(url)
    assert parts.port is not None, url
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=3)
    try:
        connection.request("GET", parts.path or "/")
        well = connection.getresponse().status // 100 == 2
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return well and _listens_itself(pid, parts.port)


def _listens_itself(pid: int, port: int) -> bool:
    """Whether a listening socket of this port is the process's own. Linux only; elsewhere we take it for granted."""
    if sys.platform != "linux":
        return True
    place = f"0100007F:{port:04X}"  # 127.0.0.1, in the byte order of the little-endian machines that the wheels are for
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[1] == place and row[3] == LISTENING}
    with suppress(OSError):  # it has ended
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed while we look
                if os.readlink(handle) in listening:  # noqa: PTH115  # the target is a name, not a path
                    return True
    return False
