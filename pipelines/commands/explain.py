"""Tell how an artifact was made, or why two artifacts differ."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.explain import Cause
    from registry.artifacts.catalog import Catalog
    from registry.artifacts.manifest import Manifest


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `explain`."""
    parser = add_command(
        subparsers,
        "explain",
        __doc__,
        example="penstock explain flights@champion\n"
        "penstock explain 0f3a9c5e71b2d864 flights@champion",
        about="With one artifact: its recipe, code, run, inputs and resources, and what was "
        "decided about it. With two: what makes the second another than the first, down to the "
        "parameter, version or source, through every input that differs.",
    )
    text = "16 digits or more of a key, or an alias"
    parser.add_argument("first", metavar="A", help=text)
    parser.add_argument("second", metavar="B", nargs="?", help="another one, to compare with")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Explain one, or the difference of two."""
    from registry.artifacts.catalog import Catalog
    from registry.artifacts.store import open_environment
    from registry.names import locate

    settings = settings_of(args)
    catalog = Catalog(open_environment(settings))
    first = locate(settings, catalog, args.first)
    if args.second is None:
        _one(catalog, first, console)
    else:
        _two(catalog, first, locate(settings, catalog, args.second), console)
    return 0


def _one(catalog: Catalog, path: str, console: Console) -> None:
    from pipelines.origin import origin_of
    from registry.artifacts.catalog import title

    manifest = _readable(catalog, path)
    origin = origin_of(catalog, path, manifest)
    console.result({"reference": manifest.reference(path), "manifest": manifest, **vars(origin)})
    console.line(title(manifest), "bold")
    for label, value in origin.facts(catalog, manifest):
        console.line(f"{label:<11} {value}", "red" if label == "state" else "")
    console.next(f"penstock lineage {manifest.key[:16]} --down", "what was made from it")


def _readable(catalog: Catalog, path: str) -> Manifest:
    """The manifest at `path`, verified: with a single one there is time for it."""
    from registry.artifacts.fetch import read_manifest

    return read_manifest(catalog.store, path)


def _two(catalog: Catalog, before: str, after: str, console: Console) -> None:
    from pipelines.explain import compare

    old, new = _readable(catalog, before), _readable(catalog, after)
    causes = compare(catalog, before, after)
    beside = _beside(old, new)
    console.result({"first": old.key, "second": new.key, "causes": causes, "beside": beside})
    _tell_two(catalog, (old, new), causes, console)
    for line in beside:
        console.line(f"beside the recipe: {line}")
    console.next(f"penstock lineage {new.key[:16]} --up", "all that the second was made from")


def _tell_two(
    catalog: Catalog, pair: tuple[Manifest, Manifest], causes: list[Cause], console: Console
) -> None:
    from registry.artifacts.catalog import title

    for place, manifest in zip(("first", "second"), pair, strict=True):
        console.line(f"{place:<7} {manifest.key[:16]}  {title(manifest)}")
    console.line()
    if not causes:
        console.line("Their recipes are the same.")
        return
    console.table(["where", "what differs", "in"], [_row(catalog, cause) for cause in causes])
    console.line()


def _row(catalog: Catalog, cause: Cause) -> list[object]:
    where = " › ".join(cause.chain) or "itself"
    if not cause.chain:
        return [where, cause.what, ""]
    paths = cause.after or cause.before
    dates = sorted({m.date for path in paths if (m := catalog.at(path)) and m.date})
    span = f" {dates[0]}" + (f" … {dates[-1]}" if len(dates) > 1 else "") if dates else ""
    count = f" × {len(paths)}," if len(paths) > 1 else ""
    return [where, cause.what, f"{cause.kind}{count}{span}"]


def _beside(old: Manifest, new: Manifest) -> list[str]:
    """What is not part of a recipe and differs all the same; and whether the files do."""
    facts: list[tuple[str, Any, Any]] = [
        ("commit", old.producer.commit[:12], new.producer.commit[:12]),
        ("lock file", old.producer.lock[:12], new.producer.lock[:12]),
        ("Python", old.producer.python, new.producer.python),
    ]
    lines = [f"{name} {before} → {after}" for name, before, after in facts if before != after]
    for place, manifest in (("first", old), ("second", new)):
        if manifest.producer.dirty:
            lines.append(f"the {place} was made with uncommitted changes")
    same = old.content == new.content
    return [*lines, f"the files are {'the same' if same else 'not the same'}"]
