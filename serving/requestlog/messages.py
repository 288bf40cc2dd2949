"""What the supervisor and the process that writes the request log tell one another."""

from __future__ import annotations

from serving.messages import Announce, Counts, Message, Reported, Tick


class StartLog(Message, frozen=True, tag=True):
    """The writer's first message. Descriptor: the end of the queue that is read.

    Files go below `folder`: one when `file_bytes` are held or the oldest of them are `file_seconds` old,
    all of them within `budget` bytes, without the inputs `omitted`.
    """

    folder: str
    file_bytes: int
    file_seconds: float
    budget: int
    omitted: list[str]
    log_level: str


#: It is told of versions before they answer, and asked for its counts.
ToLog = StartLog | Announce | Tick
FromLog = Counts | Reported
