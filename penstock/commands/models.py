"""List what is live: each alias, its model, since when, by whom."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command

if TYPE_CHECKING:
    from penstock.opened import Registry
    from registry.aliases import Decision
    from registry.artifacts.manifest import Manifest, Reference

_HISTORY = "penstock models history flights@champion"
_SHOW = "penstock models show flights@champion"


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `models` with its views `history` and `show`."""
    parser = add_command(
        subparsers, "models", __doc__,
        example=f"penstock models\n{_HISTORY}\n{_SHOW}",
    )  # fmt: skip
    views = parser.add_subparsers(dest="view", metavar="VIEW", title="views")
    history = add_command(views, "history", "list every decision about an alias", example=_HISTORY)
    history.add_argument("name", metavar="ALIAS", help="flights@champion; champion if left out")
    show = add_command(
        views, "show", "show what a model was made from, its metrics and its files", example=_SHOW
    )
    show.add_argument("name", metavar="NAME", help="an alias, or 16 digits or more of a key")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """List, or show one."""
    from penstock.opened import open_registry

    views = {None: _list, "history": _history, "show": _show}
    views[args.view](open_registry(args), args, console)
    return 0


def _list(registry: Registry, _: argparse.Namespace, console: Console) -> None:
    found = [_standing(registry, *name) for name in registry.aliases.log.names()]
    instances = _instances(registry, found, console)
    console.result({**registry.place(), "aliases": found, "instances": instances})
    if not found:
        console.line(f"Nothing was decided yet in {registry.store.url}.")
        console.next("penstock run flights --date 2013-02-10", "train, evaluate and publish one")
        return
    console.table(
        ["alias", "revision", "live", "since (UTC)", "by", "last decision"],
        [_row(standing) for standing in found],
    )
    _tell_instances(instances, console)
    first = f"{found[0]['model']}@{found[0]['alias']}"
    console.next(f"penstock models history {first}", "every decision, and why")


def _standing(registry: Registry, model: str, alias: str) -> dict[str, Any]:
    """One alias now. The head is moved up where it is behind."""
    newest = registry.aliases.current(model, alias)
    assert newest is not None
    entries = registry.aliases.log.entries(model, alias)
    return {
        "model": model,
        "alias": alias,
        "revision": newest.revision,
        "live": newest.live,
        "since": _since(entries),
        "last": newest,
    }


def _since(entries: list[Decision]) -> Decision | None:
    """The decision that made live what is live now."""
    live = entries[-1].live
    since = None
    for entry in reversed(entries):
        if live is None or entry.live is None or entry.live.key != live.key:
            break
        since = entry
    return since


def _row(standing: dict[str, Any]) -> list[object]:
    from penstock.opened import minute, short

    since, last = standing["since"], standing["last"]
    return [
        f"{standing['model']}@{standing['alias']}",
        standing["revision"],
        short(standing["live"]) or "nothing",
        minute(since.when) if since else "",
        since.who if since else "",
        last.action,
    ]


def _instances(
    registry: Registry, standings: list[dict[str, Any]], console: Console
) -> list[dict[str, Any]]:
    """What each instance of a service has loaded, beside what it should have."""
    from msgspec.structs import asdict

    from registry.errors import Refused, Temporary

    wanted = {(s["model"], s["alias"]): s["revision"] for s in standings}
    try:
        rows = registry.aliases.instances.all()
    except (Temporary, Refused) as error:
        console.note(f"what instances have loaded is not known: {error}")
        return []
    return [{**asdict(row), "wanted": wanted.get((row.model, row.alias))} for row in rows]


def _tell_instances(instances: list[dict[str, Any]], console: Console) -> None:
    from penstock.opened import minute

    if instances:
        console.line()
        console.table(
            ["instance", "alias", "loaded", "wanted", "since (UTC)", "address", "note"],
            [
                [
                    row["instance"][:36],
                    f"{row['model']}@{row['alias']}",
                    row["revision"] or "nothing",
                    row["wanted"] or "nothing",
                    minute(row["since"]),
                    row["address"],
                    row["note"],
                ]
                for row in instances
            ],
        )


def _history(registry: Registry, args: argparse.Namespace, console: Console) -> None:
    from penstock.opened import minute, short
    from registry.aliases.decision import parse_alias
    from registry.errors import NotFound

    about = parse_alias(args.name)
    registry.aliases.current(*about)
    entries = registry.aliases.log.entries(*about)
    if not entries:
        raise NotFound(
            f"there is no decision about {'@'.join(about)}",
            f"in the environment {registry.settings.environment}",
            "`penstock models` lists the aliases there are.",
        )
    console.result({**registry.place(), "decisions": entries})
    console.table(
        ["revision", "decision", "about", "live", "when (UTC)", "who", "why"],
        [
            [
                e.revision,
                e.action,
                short(e.candidate),
                short(e.live),
                minute(e.when),
                e.who,
                _why(e),
            ]
            for e in entries
        ],
    )
    console.next(
        f"penstock rollback {'@'.join(about)} --why TEXT", "go back to what was live before"
    )


def _why(entry: Decision) -> str:
    return "; ".join([entry.why, *entry.reasons])


def _show(registry: Registry, args: argparse.Namespace, console: Console) -> None:
    from registry.names import find_named

    reference, manifest = find_named(registry.settings, registry.store, args.name)
    live = registry.live_at(manifest.key)
    console.result(
        {**registry.place(), "live_at": live, "reference": reference, "manifest": manifest}
    )
    for label, value in _details(registry, reference, manifest, live):
        console.line(f"{label:<12}{value}")
    console.next(
        f"penstock score IN.parquet OUT.parquet --model {manifest.key[:16]}", "score a file with it"
    )


def _details(
    registry: Registry, reference: Reference, manifest: Manifest, live: list[str]
) -> list[tuple[str, str]]:
    from penstock.opened import minute

    made = manifest.producer
    facts = {
        "key": manifest.key,
        "model": f"{manifest.model}{f' of {manifest.date}' if manifest.date else ''}",
        "live at": ", ".join(live) or "no alias",
        "parameters": _pairs(manifest.parameters),
        "metrics": _pairs(manifest.metrics),
        "made from": _inputs(manifest),
        "made by": (f"run {made.run}" if made.run else "hand")
        + f" on {made.host}, commit {made.commit[:12]}"
        + (" with uncommitted changes" if made.dirty else ""),
        "finished": minute(_finished(manifest)),
        "content": manifest.content,
        "manifest": f"{registry.store.url}/{reference.path}",
    }
    files = [("file", f"{file.path} ({file.size:,} bytes)") for file in manifest.files]
    return [*((k, v) for k, v in facts.items() if v), *files]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(values.items())
    )


def _inputs(manifest: Manifest) -> str:
    counts = {role: 1 if isinstance(v, str) else len(v) for role, v in manifest.inputs.items()}
    parts = [f"{count} {role}" for role, count in counts.items()]
    return ", ".join([*parts, *(f"{name} {value}" for name, value in manifest.externals.items())])


def _finished(manifest: Manifest) -> str:
    import datetime

    if not manifest.timings:
        return ""
    last = max(manifest.timings.values())
    return datetime.datetime.fromtimestamp(last, datetime.UTC).isoformat()
