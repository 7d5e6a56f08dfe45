"""What lies outside the database: containers of blobs, keys and channels of Redis."""

from datetime import timedelta

from core.media.blobs import Room
from core.privacy.registry import Container, DataClass, Keys
from core.queue import Queue
from core.streams import LIFE_RUNNING, STOP_CHANNEL

CONTAINERS = (
    Container(Room.QUARANTINE, DataClass.MEDIA, "<media.id>", timedelta(days=1)),
    Container(Room.PUBLIC, DataClass.MEDIA, "<media_files.name>"),
    Container(Room.ARCHIVE, DataClass.ARCHIVE, "<day>.jsonl", timedelta(days=365)),
    Container(Room.SNAPSHOTS, DataClass.SNAPSHOT, "<day>", timedelta(days=30)),
    Container(Room.EXPORTS, DataClass.REQUEST, "<exports.id>-<attempt>.zip", timedelta(days=7)),
    # Longer than any snapshot, and than any backup that a managed PostgreSQL makes by itself (35 days at most).
    Container(Room.JOURNAL, DataClass.REQUEST, "<hash of accounts.id>/<moment>", timedelta(days=90)),
)

KEYS = (
    Keys("run:", DataClass.TRANSCRIPT, timedelta(seconds=LIFE_RUNNING)),  # the words of an answer while it streams
    Keys("ticket:", DataClass.ACCOUNT, timedelta(seconds=30)),
    Keys("tickets:", DataClass.ACCOUNT, timedelta(seconds=30)),
    Keys(STOP_CHANNEL, DataClass.HOUSE, timedelta(0)),
    Keys("hub", DataClass.HOUSE, timedelta(0)),
    # Celery's: ids of jobs on their way.
    *(Keys(queue, DataClass.HOUSE, None) for queue in Queue),
    Keys("unacked", DataClass.HOUSE, None),
    Keys("_kombu.", DataClass.HOUSE, None),
)
