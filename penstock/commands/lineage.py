"""Show what an artifact was made from, or what was made from it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from registry.artifacts.catalog import Catalog
    from registry.lineage import Branch, Lineage


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `lineage`."""
    parser = add_command(
        subparsers,
        "lineage",
        __doc__,
        example="penstock lineage flights@champion --up\n"
        "penstock lineage 0f3a9c5e71b2d864 --down\n"
        "penstock lineage 0f3a9c5e71b2d864 --up --depth 1 --each",
        about="Show what an artifact was made from, or what was made from it: models, evaluations, "
        "predictions, and the decisions that name it. Artifacts that differ in their dates alone "
        "share a line. What was retracted, or made from what was, is marked.",
    )
    parser.add_argument("name", metavar="KEY|ALIAS", help="16 digits or more of a key, or an alias")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--up", action="store_true", help="what it was made from (the default)")
    way.add_argument("--down", action="store_true", help="what was made from it")
    parser.add_argument("--depth", type=natural, metavar="N", help="steps to go; default: all")
    parser.add_argument("--each", action="store_true", help="a line for each artifact")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Draw the tree."""
    from registry.artifacts.catalog import Catalog
    from registry.artifacts.store import open_environment
    from registry.lineage import Lineage, tree
    from registry.names import locate

    settings = settings_of(args)
    catalog = Catalog(open_environment(settings))
    lineage = Lineage(catalog)
    start = locate(settings, catalog, args.name)
    step = lineage.uses if args.down else lineage.inputs
    root = tree(lineage, start, step, depth=args.depth, each=args.each or console.json)
    drawing = _Drawing(catalog, lineage, down=args.down)
    if console.json:
        console.result(drawing.document(root))
        return 0
    for text in drawing.lines(root):
        console.line(text, "red" if "retracted" in text else "")
    if catalog.damaged:
        console.note(f"{len(catalog.damaged)} manifests cannot be read: {catalog.damaged[0]}, …")
    if not root.branches:
        console.line("Nothing was made from it." if args.down else "It was made from no artifact.")
    short = start.removesuffix(".json")[-16:]
    if args.down:
        console.next(f"penstock lineage {short} --up", "what it was made from")
    else:
        console.next(f"penstock explain {short}", "its recipe, code and run")
    return 0


class _Drawing:
    """A tree in words."""

    def __init__(self, catalog: Catalog, lineage: Lineage, *, down: bool) -> None:
        self._catalog = catalog
        self._lineage = lineage
        self._down = down

    def lines(self, root: Branch) -> Iterator[str]:
        """The tree, a line for each branch."""
        yield self._text(root)
        yield from self._below(root, "")

    def _below(self, branch: Branch, margin: str) -> Iterator[str]:
        for number, child in enumerate(branch.branches, 1):
            last = number == len(branch.branches)
            yield f"{margin}{'└─' if last else '├─'} {self._text(child)}"
            yield from self._below(child, margin + ("   " if last else "│  "))

    def _text(self, branch: Branch) -> str:
        text = self._one(branch.paths[0]) if len(branch.paths) == 1 else self._many(branch.paths)
        if branch.role:
            text = f"{text}  as {branch.role}" if self._down else f"{branch.role}: {text}"
        return f"{text}  (stands in this tree already)" if branch.again else text

    def _one(self, path: str) -> str:
        from registry.artifacts.catalog import digits_of, title

        if decision := self._decision(path):
            return decision
        manifest = self._catalog.at(path)
        state = self._catalog.state(path)
        named = title(manifest) if manifest else f"{path} (cannot be read)"
        return f"{named}  {digits_of(path)}{f'  [{state}]' if state else ''}"

    def _many(self, paths: list[str]) -> str:
        from registry.lineage import title_of_all

        manifests = [m for m in map(self._catalog.at, paths) if m is not None]
        dates = sorted(manifest.date for manifest in manifests if manifest.date)
        span = f", {dates[0]} … {dates[-1]}" if dates else ""
        marked = [path for path in paths if self._catalog.state(path)]
        marks = f"  [{len(marked)} retracted or made from such]" if marked else ""
        return f"{title_of_all(manifests)} × {len(paths)}{span}{marks}"

    def _decision(self, path: str) -> str:
        decision = self._lineage.decisions.get(path)
        if decision is None:
            return ""
        about = f"{decision.model}@{decision.alias} revision {decision.revision}"
        return f"{decision.action} {about} by {decision.who}, {decision.when[:16]}"

    def document(self, root: Branch) -> dict[str, Any]:
        """The tree as nodes and edges; every artifact stands once among the nodes."""
        nodes: dict[str, Any] = {}
        edges: list[dict[str, str]] = []
        stack = [root]
        while stack:
            branch = stack.pop()
            (path,) = branch.paths
            nodes[path] = self._node(path)
            edges += [
                {"from": path, "role": child.role, "to": child.paths[0]}
                for child in branch.branches
            ]
            stack += branch.branches
        start = root.paths[0]
        way = "down" if self._down else "up"
        return {"start": start, "direction": way, "nodes": nodes, "edges": edges}

    def _node(self, path: str) -> dict[str, Any]:
        decision = self._lineage.decisions.get(path)
        if decision is not None:
            return {"decision": decision}
        manifest = self._catalog.at(path)
        about = ("key", "family", "name", "date", "parameters", "epoch", "rows", "metrics")
        fields = {name: getattr(manifest, name) for name in about} if manifest else {}
        return {**fields, "readable": manifest is not None, "state": self._catalog.state(path)}
