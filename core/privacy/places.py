"""What lies outside the database: containers of blobs, keys and channels of Redis."""

from datetime import timedelta

from core.media.blobs import Room
from core.privacy.registry import Container, DataClass, Keys
from core.streams import LIFE_RUNNING

CONTAINERS = (
    Container(Room.QUARANTINE, DataClass.MEDIA, "<media.id>", timedelta(days=1)),
    Container(Room.PUBLIC, DataClass.MEDIA, "<media_files.name>"),
)

KEYS = (
    Keys("run:", DataClass.TRANSCRIPT, timedelta(seconds=LIFE_RUNNING)),  # the words of an answer while it streams
    Keys("ticket:", DataClass.ACCOUNT, timedelta(seconds=30)),
    Keys("tickets:", DataClass.ACCOUNT, timedelta(seconds=30)),
)
