"""A port that was chosen stays ours, and an answer on it counts only if it is our process that gives it."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.ports import Held, answers
from sandbox.processes import free_port, listens
from tests.sandbox.test_supervisor import until

IP_LOCAL_PORT_RANGE = 51  # linux/in.h; from Linux 6.3


def connect_from(port: int, to: int) -> socket.socket:
    """An outgoing connection for which the kernel may choose among exactly one port."""
    connection = socket.socket()
    try:
        connection.setsockopt(socket.SOL_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", port << 16 | port))
    except OSError:
        connection.close()
        pytest.skip("this kernel takes no range of ports for one socket")
    try:
        connection.connect(("127.0.0.1", to))
    except OSError:
        connection.close()
        raise
    return connection


@pytest.fixture
def held() -> Iterator[Held]:
    ports = Held()
    yield ports
    ports.release()


def test_a_held_port_goes_to_no_outgoing_connection_and_to_no_other_sandbox(held: Held) -> None:
    port = held.take_any()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(OSError, match="Cannot assign requested address"):
            connect_from(port, server.getsockname()[1])
        assert not Held().take(port)

        held.release()
        connect_from(port, server.getsockname()[1]).close()


def test_a_child_may_listen_on_a_held_port(held: Held) -> None:
    with socket.create_server(("127.0.0.1", held.take_any())) as server:
        assert listens(server.getsockname()[1])


def test_a_port_of_an_outgoing_connection_is_not_to_be_had() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        assert not Held().take(connection.getsockname()[1])


def test_an_answer_of_a_stranger_does_not_count() -> None:
    command = [sys.executable, "-m", "http.server", str(port := free_port()), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/", server.pid))

            assert not answers(f"http://127.0.0.1:{port}/", os.getpid())
            assert not answers(f"http://127.0.0.1:{port}/no/such/page", server.pid)
        finally:
            server.terminate()
