"""Run a use case on a schedule, on this machine."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands.words import a_date
from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pipelines.cadence import Cadence, Clock
    from pipelines.schedule import Ran
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `schedule`."""
    parser = add_command(
        subparsers,
        "schedule",
        __doc__,
        example="penstock schedule flights --every day --at 05:30 --deadline 3h --catch-up 7\n"
        "penstock schedule flights --every day --from 2013-02-10 --to 2013-02-14\n"
        "penstock schedule flights --every 3h --once\n"
        "penstock schedule flights --at 05:30 --lag 1d",
        about="Run a use case at every tick for the last day that is over (times are UTC). Dates "
        "that were missed are caught up with in order; what is complete is left alone. Runs never "
        "overlap, and one that passes its deadline is ended. Ctrl-C or SIGTERM ends the schedule; "
        "jobs that run go on, and the next run finds them. With --from it pretends that today is "
        "that day, and jumps to the next tick instead of waiting. Launched by a periodic job of Nomad, "
        "it makes the one tick that the launch was due for, whenever it happens to start.",
    )
    parser.add_argument("usecase", metavar="USECASE", help="a folder below usecases/, e.g. flights")
    parser.add_argument(
        "--every", default="day", metavar="DURATION", help="day, 12h, 3h, 30m, … (default: day)"
    )
    parser.add_argument(
        "--at", default="00:00", metavar="HH:MM", help="one of the ticks, in UTC (default: 00:00)"
    )
    parser.add_argument(
        "--deadline", metavar="DURATION", help="end a run after this long (default: never)"
    )
    parser.add_argument(
        "--catch-up", type=natural, default=1, metavar="N",
        help="dates to look back, the one that is due included (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--lag", metavar="DURATION", help="the data of a day come this long after its end (2d)"
    )
    parser.add_argument("--once", action="store_true", help="one tick, then end")
    parser.add_argument(
        "--from", dest="first", type=a_date, metavar="YYYY-MM-DD", help="pretend that today is it"
    )
    parser.add_argument(
        "--to", dest="last", type=a_date, metavar="YYYY-MM-DD", help="the last day to run on"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Follow the schedule until it ends; the exit code is that of the last run that failed."""
    from pipelines.cadence import duration
    from pipelines.schedule import only_one
    from registry.usecase import load_usecase

    settings = settings_of(args)
    load_usecase(args.usecase)
    launched = _launched(args)
    cadence = _cadence(args, launched)
    deadline = duration(args.deadline).total_seconds() if args.deadline else None
    name = f"{settings.environment.replace('/', '-')}-{args.usecase}"
    with only_one(Path(settings.var), name) as lock:
        ran = _follow(args, settings, cadence, deadline, lock, launched, console)
    console.result({"runs": ran})
    console.line(f"The schedule has ended after {len(ran)} runs.")
    console.next("penstock status", "the runs, what they made and what failed")
    bad = [each for each in ran if each.outcome in ("failed", "deadline")]
    return (bad[-1].exit_code or 75) if bad else 0


def command(args: argparse.Namespace, date: dt.date) -> list[str]:
    """The words that make one date, with the flags of this call."""
    flags = [
        word
        for name in ("store", "environment")
        if (value := args.flags.get(name)) is not None
        for word in (f"--{name}", str(value))
    ]
    words = ["run", args.usecase, "--date", date.isoformat()]
    return [sys.executable, "-m", "penstock", *words, *flags]


def _follow(
    args: argparse.Namespace, settings: Settings, cadence: Cadence, deadline: float | None,
    lock: int, launched: dt.datetime | None, console: Console,
) -> list[Ran]:  # fmt: skip
    from pipelines.cadence import duration
    from pipelines.schedule import Launcher, ending, follow, missing_dates

    stop = threading.Event()
    clock = _clock(args, cadence, launched, stop)
    lag = duration(args.lag) if args.lag else dt.timedelta()
    launcher = Launcher(
        lambda date: command(args, date), deadline, stop, lock=lock, quiet=console.json
    )

    def missing(date: dt.date) -> list[dt.date]:
        found = missing_dates(settings, args.usecase, date, args.catch_up)
        if found:
            due = ", ".join(map(str, found))
            console.line(f"{clock.now():%Y-%m-%d %H:%M} UTC  due: {due}", "bold")
        return found

    done = []
    try:
        with ending(launcher):
            for ran in follow(
                cadence, clock, missing, launcher.launch,
                once=args.once or launched is not None, last=_last(args), lag=lag,
            ):  # fmt: skip
                done.append(ran)
                _tell(ran, console)
    except KeyboardInterrupt:
        launcher.stop()
        console.note("The schedule ends. Jobs that run go on; the next run finds them.")
    return done


def _launched(args: argparse.Namespace) -> dt.datetime | None:
    """The tick that Nomad launched this process for; None elsewhere, and where one pretends."""
    from pipelines.cadence import launch_of

    return launch_of(os.environ.get("NOMAD_JOB_ID", "")) if args.first is None else None


def _cadence(args: argparse.Namespace, launched: dt.datetime | None) -> Cadence:
    from pipelines.cadence import Cadence, duration, time_of_day

    if launched is None:
        return Cadence(duration(args.every), time_of_day(args.at))
    # Nomad has its own idea of when to launch. Whatever it was, that moment is a tick.
    midnight = launched.replace(hour=0, minute=0, second=0, microsecond=0)
    return Cadence(dt.timedelta(days=1), launched - midnight)


def _clock(
    args: argparse.Namespace, cadence: Cadence, launched: dt.datetime | None, stop: threading.Event
) -> Clock:
    from pipelines.cadence import PretendClock, SystemClock

    if launched is not None:
        return PretendClock(launched, stop)
    if args.first is None:
        return SystemClock(stop)
    midnight = dt.datetime.combine(args.first, dt.time(), dt.UTC)
    return PretendClock(midnight + cadence.at, stop)


def _last(args: argparse.Namespace) -> dt.date | None:
    """The last logical date: of the day --to, or, pretending, the last that there are data for."""
    from registry.usecase import load_usecase

    if args.last is not None:
        return args.last - dt.timedelta(days=1)  # type: ignore[no-any-return]
    last = load_usecase(args.usecase).last_date - dt.timedelta(days=1)
    return last if args.first is not None else None


def _tell(ran: Ran, console: Console) -> None:
    words = {"done": "done", "failed": f"failed with exit code {ran.exit_code}",
             "deadline": "ended at its deadline", "stopped": "stopped"}  # fmt: skip
    style = "" if ran.outcome == "done" else "red"
    console.line(f"{ran.date}  {words[ran.outcome]} after {ran.seconds:.1f} s", style)
