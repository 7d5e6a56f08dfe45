"""Tables of the privacy slice itself; the last of the list."""

from core.privacy.registry import Table

RIGHTS: tuple[Table, ...] = ()
