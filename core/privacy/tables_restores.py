"""Tables about copies of the database, and what became of them."""

from datetime import timedelta

from core.privacy.registry import YEAR, DataClass, Ends, Table

RESTORES = (
    Table(
        "restores",
        DataClass.HOUSE,
        inner="id snapshot taken_at begun_at ended_at",
        ends=Ends(2 * YEAR, since="ended_at"),
    ),
    Table(
        "restore_drills",
        DataClass.HOUSE,
        inner="id at snapshot seconds rows findings",
        ends=Ends(timedelta(days=365), since="at"),
    ),
)
