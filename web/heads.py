"""The head of a request is bounded, in size and in time: uvicorn itself would wait, and keep what comes, for ever.

Of a body, Quart knows both bounds (web/app.py). `uvicorn --http web.heads:BoundedHeads` serves by this.
"""

import asyncio

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 32 * 1024  # of request line and fields, as nginx by default (large_client_header_buffers, 4 of 8 KiB)
MOST_FIELDS = 100  # as Apache's LimitRequestFields
PATIENCE = 10.0  # seconds from the first byte to the last one; on a fresh connection from its opening

_MALFORMED = (400, "Bad Request", "This is not an HTTP request.")
_LATE = (408, "Request Timeout", "The request took too long to arrive.")
_LARGE = (431, "Request Header Fields Too Large", f"Address and fields have at most {MOST_BYTES} bytes together.")
_MANY = (431, "Request Header Fields Too Large", f"A request has at most {MOST_FIELDS} fields.")


class _Refused(Exception):
    """Stops the parser; what was refused is in `_refusal`."""


class BoundedHeads(HttpToolsProtocol):
    _refusal = _MALFORMED
    _reading = True  # a head, or waiting for the first one
    _fields = 0
    _told = 0  # bytes of the fields that are whole
    _bytes = 0  # that have come of a head which is not whole
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # as uvicorn has it
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # the second: it has become a socket, which is no longer ours
        if self._reading:
            # It has not come to its end with these bytes: all of them are its own, but for the end of the one before.
            self._bytes += len(data)
            if self._bytes > MOST_BYTES:
                self._refuse(_LARGE)
                return
        if self._timer is None and (self._reading or self.cycle.response_complete):
            self._wait()  # the second: what comes after an answer and begins no request

    def on_message_begin(self) -> None:
        self._reading, self._bytes, self._told, self._fields = True, 0, 0, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._told += len(name) + len(value)
        if self._fields > MOST_FIELDS:
            self._refusal = _MANY
            raise _Refused
        if self._told + len(self.url) > MOST_BYTES:
            self._refusal = _LARGE
            raise _Refused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._settle()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's word for it
        """What the parser stopped at, of ours or malformed: uvicorn calls this, and closes."""
        self._refuse(self._refusal)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._reading and self._bytes:
            self._refuse(_LATE)
        else:
            self.transport.close()  # nobody has asked anything: browsers open connections that they may never use

    def _settle(self) -> None:
        self._reading, self._bytes = False, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, refusal: tuple[int, str, str]) -> None:
        self._settle()
        if self.transport.is_closing():
            return
        status, title, detail = refusal
        about = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = orjson.dumps(about)
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()
