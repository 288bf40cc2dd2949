"""Moving aliases: publish, reject, promote, roll back; and keeping heads in step with the log.

Each change is a new, higher revision. A publication is an event about one candidate: it is
decided once, so that a scheduled run never undoes a rollback made by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from registry.aliases.decision import Decision, DecisionLog
from registry.aliases.drafts import at_revision, before, draft, live_after, stands_for, verdict
from registry.aliases.heads import Heads, head_of, open_heads
from registry.aliases.loaded import Instances, NoInstances, highest, open_instances
from registry.artifacts.manifest import Reference
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import BadData, NotFound, Refused, StoreError, Temporary
from registry.logs import get_logger

if TYPE_CHECKING:
    from registry.settings import Settings

_log = get_logger("registry.aliases")

#: Makes the next entry of a log out of those so far; None appends nothing.
Decide = Callable[[Sequence[Decision]], Decision | None]


def open_aliases(settings: Settings, store: Store) -> Aliases:
    """The aliases of the environment whose root is `store`."""
    return Aliases(DecisionLog(store), open_heads(settings), open_instances(settings))


class Aliases:
    """The decision log and the heads of one environment, and the instances that follow them."""

    def __init__(self, log: DecisionLog, heads: Heads, instances: Instances | None = None) -> None:
        self.log = log
        self.heads = heads
        self.instances = instances or NoInstances()

    def current(self, model: str, alias: str) -> Decision | None:
        """The newest decision about an alias; a head that is behind is moved up."""
        newest = self.log.newest(model, alias)
        if newest is not None:
            self._heal_if_possible(newest)
        return newest

    def live(self, model: str, alias: str) -> Reference:
        """The artifact that an alias points at.

        Raises:
            NotFound: nothing is live there.
        """
        newest = self.current(model, alias)
        if newest is None or newest.live is None:
            raise NotFound(
                f"nothing is live at {model}@{alias}",
                "no candidate was published or promoted yet",
                f"Run the pipeline, or `penstock promote {model}@{alias} KEY --why …`.",
            )
        return newest.live

    def verdict(self, model: str, alias: str, key: str) -> Decision | None:
        """The decision by which the candidate `key` was published or rejected, if there is one.

        A head that is behind is moved up: a run that was killed between the two finds its verdict
        there and has nothing else to do.
        """
        entries = self.log.entries(model, alias)
        if entries:
            self._heal_if_possible(entries[-1])
        return verdict(entries, key)

    def settle(
        self,
        about: tuple[str, str],
        candidate: Reference,
        action: Literal["publish", "reject"],
        *,
        who: str,
        why: str,
        reasons: Sequence[str] = (),
        evaluation: Reference | None = None,
    ) -> Decision:
        """Publish or reject `candidate`, unless that was decided before: then that verdict."""

        def decide(entries: Sequence[Decision]) -> Decision | None:
            if verdict(entries, candidate.key):
                return None
            live = candidate if action == "publish" else live_after(entries)
            return draft(
                about, action, candidate, live,
                who=who, why=why, reasons=reasons, evaluation=evaluation,
            )  # fmt: skip

        appended = self._append(about, decide)
        standing = appended or self.verdict(*about, candidate.key)
        assert standing is not None
        return standing

    def promote(
        self, about: tuple[str, str], candidate: Reference, *, who: str, why: str
    ) -> Decision:
        """Make `candidate` live by a person's word, whatever was decided before.

        Raises:
            Refused: it is live already.
        """

        def decide(entries: Sequence[Decision]) -> Decision:
            live = live_after(entries)
            if live is not None and live.key == candidate.key:
                raise Refused(f"{candidate.key[:16]} is live at {'@'.join(about)} already")
            return draft(about, "promote", candidate, candidate, who=who, why=why)

        return self._surely(about, decide)

    def rollback(
        self, about: tuple[str, str], *, who: str, why: str, to: int | None = None
    ) -> Decision:
        """Make live again what was live before, or at the revision `to`.

        A second rollback goes further back, not forth again.

        Raises:
            Refused: there is nothing to go back to.
        """

        def decide(entries: Sequence[Decision]) -> Decision:
            target = before(entries) if to is None else at_revision(entries, to)
            if target is None or target.live is None:
                raise Refused(
                    f"{'@'.join(about)} cannot be rolled back",
                    "nothing was live before" if to is None else f"nothing was live at {to}",
                    f"`penstock models history {'@'.join(about)}` shows its revisions.",
                )
            restores = stands_for(entries, target)
            return draft(
                about, "rollback", target.live, target.live, who=who, why=why, restores=restores
            )

        return self._surely(about, decide)

    def retreat(
        self, about: tuple[str, str], *, bad: int, to: int, who: str, why: str
    ) -> Decision | None:
        """Make live again what was live at the revision `to`, if `bad` is the newest decision.

        None if it is not: whoever decided since, also another instance that saw the same, is right.
        """

        def decide(entries: Sequence[Decision]) -> Decision | None:
            target = at_revision(entries, to)
            if not entries or entries[-1].revision != bad or target is None or target.live is None:
                return None
            restores = stands_for(entries, target)
            return draft(
                about, "rollback", target.live, target.live, who=who, why=why, restores=restores
            )

        return self._append(about, decide)

    def _surely(self, about: tuple[str, str], decide: Decide) -> Decision:
        appended = self._append(about, decide)
        assert appended is not None
        return appended

    def _append(self, about: tuple[str, str], decide: Decide) -> Decision | None:
        """Append to the log, above any revision that was shown or loaded, and move the head."""
        appended = self.log.append(*about, decide, self._shown_revision(*about))
        newest = appended or self.log.newest(*about)
        if newest is not None:
            self._heal(newest)
        return appended

    def _shown_revision(self, model: str, alias: str) -> int:
        try:
            head = self.heads.read(model, alias)
        except BadData:
            head = None
        # Heads that were lost may have shown what services still have.
        return max(head.revision if head else 0, highest(self.instances, model, alias))

    def _heal_if_possible(self, newest: Decision) -> None:
        """Reading what is live must not depend on being allowed to move the head."""
        try:
            self._heal(newest)
        except (StoreError, Temporary, Refused) as error:
            _log.warning("a head was left behind", revision=newest.revision, error=str(error))

    def _heal(self, newest: Decision) -> None:
        self.heads.advance(head_of(newest))
        crashpoint("publish.after_head")
