"""What Nomad replies, as far as the runner reads it: newer agents may say more.

Field names and meanings are those of Nomad's HTTP API (developer.hashicorp.com/nomad/api-docs).
Lists and maps that are empty arrive as null.
"""

from __future__ import annotations

import msgspec


class Reply(msgspec.Struct, frozen=True, rename="pascal"):
    """The base of all: fields are written as in Nomad, `JobModifyIndex`."""


class Summary(Reply, frozen=True):
    """How many allocations of a group are in which state."""

    queued: int = 0
    starting: int = 0
    running: int = 0
    complete: int = 0
    failed: int = 0
    lost: int = 0
    unknown: int = 0


class JobSummary(Reply, frozen=True):
    """The summaries of a job by group."""

    summary: dict[str, Summary] | None = None


class JobStub(Reply, frozen=True):
    """A job as a list shows it."""

    id: str = msgspec.field(name="ID")
    status: str = ""
    stop: bool = False
    meta: dict[str, str] | None = None
    job_summary: JobSummary | None = None
    submit_time: int = 0

    @property
    def counts(self) -> Summary:
        """The summary over all groups, of which penstock's jobs have one."""
        groups = (self.job_summary.summary if self.job_summary else None) or {}
        return next(iter(groups.values()), Summary())


class Device(Reply, frozen=True):
    """A device that a task asks for, or that a node has."""

    name: str = ""
    count: int = 1


class Resources(Reply, frozen=True):
    """What a task asks for: MHz or whole cores, MiB."""

    cpu: int = msgspec.field(default=0, name="CPU")
    cores: int | None = None
    memory_mb: int = msgspec.field(default=0, name="MemoryMB")
    devices: list[Device] | None = None


class Secrets(Reply, frozen=True):
    """How a task logs in to Vault."""

    role: str = ""


class Task(Reply, frozen=True):
    """A task of a group."""

    name: str
    driver: str = ""
    resources: Resources = Resources()
    vault: Secrets | None = None


class Disk(Reply, frozen=True):
    """The disk that a group asks for, in MiB."""

    size_mb: int = msgspec.field(default=0, name="SizeMB")


class Group(Reply, frozen=True):
    """A group of a job."""

    name: str
    tasks: list[Task] | None = None
    ephemeral_disk: Disk | None = None


class Parameterized(Reply, frozen=True):
    """What a parent takes with a dispatch."""

    meta_required: list[str] | None = None
    meta_optional: list[str] | None = None


class Job(Reply, frozen=True):
    """A job in full. `stop` tells that it was deregistered."""

    id: str = msgspec.field(name="ID")
    status: str = ""
    stop: bool = False
    meta: dict[str, str] | None = None
    task_groups: list[Group] | None = None
    parameterized_job: Parameterized | None = None


class Event(Reply, frozen=True):
    """An event of a task; `time` in Unix nanoseconds."""

    type: str
    time: int = 0
    details: dict[str, str] | None = None
    display_message: str = ""


class TaskState(Reply, frozen=True):
    """What became of a task."""

    state: str = ""
    failed: bool = False
    finished_at: str | None = None
    events: list[Event] | None = None


class Allocation(Reply, frozen=True):
    """An allocation as a list shows it: one placement of a child on a node."""

    id: str = msgspec.field(name="ID")
    client_status: str = ""
    desired_status: str = ""
    desired_description: str = ""
    client_description: str = ""
    next_allocation: str = ""
    followup_eval_id: str = msgspec.field(default="", name="FollowupEvalID")
    preempted_by_allocation: str = ""
    node_name: str = ""
    task_states: dict[str, TaskState] | None = None
    create_index: int = 0
    modify_time: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it ended and no other takes its place."""
        ended = self.client_status in ("complete", "failed", "lost")
        return ended and not self.next_allocation and not self.followup_eval_id


class Metric(Reply, frozen=True):
    """Why a group could not be placed."""

    nodes_evaluated: int = 0
    nodes_filtered: int = 0
    nodes_in_pool: int = 0
    nodes_available: dict[str, int] | None = None
    constraint_filtered: dict[str, int] | None = None
    class_filtered: dict[str, int] | None = None
    nodes_exhausted: int = 0
    dimension_exhausted: dict[str, int] | None = None
    quota_exhausted: list[str] | None = None


class Evaluation(Reply, frozen=True):
    """One look of the scheduler at a job."""

    id: str = msgspec.field(name="ID")
    job_id: str = msgspec.field(default="", name="JobID")
    status: str = ""
    status_description: str = ""
    triggered_by: str = ""
    priority: int = 0
    failed_tg_allocs: dict[str, Metric] | None = msgspec.field(default=None, name="FailedTGAllocs")
    create_index: int = 0


class Cpu(Reply, frozen=True):
    """MHz, and cores in all."""

    cpu_shares: int = 0
    total_cpu_cores: int = 0


class Memory(Reply, frozen=True):
    """MiB."""

    memory_mb: int = msgspec.field(default=0, name="MemoryMB")


class Capacity(Reply, frozen=True):
    """What a node has, or keeps for itself."""

    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    devices: list[Device] | None = None


class Node(Reply, frozen=True):
    """A node as a list with resources shows it."""

    id: str = msgspec.field(name="ID")
    name: str = ""
    status: str = ""
    node_resources: Capacity | None = None
    reserved_resources: Capacity | None = None


class Dispatched(Reply, frozen=True):
    """The reply to a dispatch; an old child that was found by its token comes without evaluation."""

    dispatched_job_id: str = msgspec.field(name="DispatchedJobID")
    eval_id: str = msgspec.field(default="", name="EvalID")
