"""What takes bytes with next to nothing around: into a file, as they come. Beside uploads, and as their storage."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Any request's body becomes a file of its own, and that is created: enough of a storage to put blocks into."""
    if scope["type"] != "http":
        return
    name = sha256(scope["path"].encode() + scope["query_string"]).hexdigest()
    path = Path(os.environ["CLOFY_BENCH_COPIES"]) / name
    with path.open("wb") as file:  # a thread would cost it more
        while True:
            message = await receive()
            file.write(message.get("body", b""))
            if not message.get("more_body"):
                break
    path.unlink()
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
