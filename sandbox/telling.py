"""The lines that a person at `make up` sees: a stand-in writes them to its log, the supervisor picks them out."""

MARK = "\N{BULLET} "


def tell(text: str) -> None:
    """Say that something worth seeing happened. One line, without anything secret."""
    print(MARK + " ".join(text.split()), flush=True)


def told(line: str) -> str | None:
    """What a line of a log tells, or None if it is only a log line."""
    return line.removeprefix(MARK).rstrip("\n") if line.startswith(MARK) else None
