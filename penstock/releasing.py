"""Bringing a model from one environment to another: by its digests, with its lineage.

The model and the report that its publication stood on come with their files; of what they were
made from come the manifests, so that the other environment can tell, without holding the data.
Every step is create-if-absent, so a release that was cut short is completed by doing it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.commands.promote import check_standing, promote
from penstock.opened import Registry
from registry.aliases import Decision
from registry.artifacts.copying import copy_artifact, copy_record
from registry.artifacts.fetch import dereference, read_ancestor
from registry.artifacts.layout import lineage_path
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.provenance import refuse_dirty_production, running_code
from registry.errors import Refused


@dataclass(frozen=True)
class Release:
    """What is to be brought: the model, the report about it if there is one, and their lineage."""

    reference: Reference
    manifest: Manifest
    report: Reference | None
    ancestors: dict[str, Manifest]


def prepare(
    source: Registry, target: Registry, about: tuple[str, str], reference: Reference
) -> Release:
    """Look whether the model may be released; reads only.

    Raises:
        Refused: it was retracted, or uncommitted code made it or would bring it to prod.
        NotFound, Corrupt: it, or something it was made from, is gone or damaged.
    """
    environment = target.settings.environment
    refuse_dirty_production(environment, running_code())
    manifest = dereference(source.store, reference)
    check_standing(source, manifest)
    report = _report(source, about, reference)
    roots = [manifest, *([dereference(source.store, report)] if report else [])]
    release = Release(reference, manifest, report, _ancestors(source, roots))
    if environment.partition("/")[0] == "prod":
        for each in (*roots, *release.ancestors.values()):
            _refuse_dirty(each)
    return release


def _report(source: Registry, about: tuple[str, str], reference: Reference) -> Reference | None:
    """The evaluation that the decision about this model names."""
    model = (about[0], "champion")
    verdict = source.aliases.verdict(*model, reference.key)
    return verdict.evaluation if verdict else None


def _ancestors(source: Registry, roots: list[Manifest]) -> dict[str, Manifest]:
    """What `roots` were made from, by path."""
    found: dict[str, Manifest] = {}
    stack = list(roots)
    while stack:
        for reference in stack.pop().references:
            if reference.path not in found:
                found[reference.path] = read_ancestor(source.store, reference.path)
                stack.append(found[reference.path])
    return found


def _refuse_dirty(manifest: Manifest) -> None:
    if manifest.producer.dirty or manifest.producer.commit == "unknown":
        raise Refused(
            f"the {manifest.family} {manifest.key[:16]} may not be released to prod",
            "the code that made it is not the content of a commit, so nobody could reproduce it",
            "Commit the code, retract the artifact, and run the pipeline again.",
        )


def release(
    source: Registry, target: Registry, about: tuple[str, str], what: Release, why: str
) -> tuple[Decision, bool]:
    """Copy, verify, and make the model live at the alias `about` of `target`.

    Returns the decision by which it is live there, and whether it is new.

    Raises:
        Refused: it does not give there what its golden rows say, or may not go live.
        StoreError: a store failed; doing it again goes on.
    """
    for path, manifest in what.ancestors.items():
        copy_record(target.store, lineage_path(path), manifest)
    if what.report:
        copy_artifact(source.store, target.store, what.report)
    reference = copy_artifact(source.store, target.store, what.reference)
    current = target.aliases.current(*about)
    if current and current.live and current.live.key == reference.key:
        return current, False
    manifest = dereference(target.store, reference)
    because = f"{why} (released from {source.settings.environment})"
    return promote(target, about, reference, manifest, why=because), True
