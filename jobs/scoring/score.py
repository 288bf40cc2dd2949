"""`penstock score`: files in, one file out, in shards of which a later call scores what is missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from jobs.scoring.engine import Columns, Engine
from jobs.scoring.quarantine import MEND
from jobs.scoring.rules import Rules
from jobs.scoring.shards import Folder, Shard
from jobs.scoring.sources import Piece, Source, pieces_of, split
from jobs.scoring.writing import join, sync
from registry.crashpoints import crashpoint
from registry.errors import BadData, UsageError
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked

#: Above this many rows a shard is worth its second pass over the output; rows of a shard; most shards.
_WHOLE, _SHARD, _MOST = 2_000_000, 1_000_000, 1000

#: Rows done (those of shards found finished included), and rows in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What is scored, and how. `shards` None: by the number of rows. `carry_all`: every column."""

    bundle: Path
    sources: Sequence[Source]
    target: Path
    quarantine: Path
    columns: Columns = field(default_factory=Columns)
    rules: Rules = field(default_factory=Rules)
    threads: int = 1
    shards: int | None = None
    carry_all: bool = False

    @property
    def folder(self) -> Folder:
        """Where shards are until all are there."""
        return Folder(self.target.with_name(f".{self.target.name}.shards"))


class Done(NamedTuple):
    """Rows written and left out; shards in all, and those that an earlier call had finished."""

    rows: int
    quarantined: int
    shards: int
    found: int


def score(asked: Asked, progress: Progress | None = None) -> Done:
    """Score `asked.sources` into `asked.target`, which appears only when it is complete.

    The rows that were left out are then in `asked.quarantine`, which is absent where there are none.

    Raises:
        NotFound: the bundle or a source is not there.
        UsageError: the target or the quarantine exists already, a column has the name of an output,
            or another process scores into the target.
        BadData: a source is not Parquet, ends early or does not fit; too many rows are bad.
        GoldenMismatch: the model does not reproduce its golden rows here.
    """
    bundle = Bundle.read(asked.bundle)
    _refuse_existing(asked, asked.folder)
    pieces, schema = pieces_of(asked.sources)
    columns = asked.columns
    if asked.carry_all:
        columns = Columns(columns.ids, schema.names)
    predictor = open_checked(bundle)
    try:
        engine = Engine(bundle, predictor, columns, asked.rules, asked.threads)
        return _Scoring(asked, engine, pieces, schema, progress).run()
    finally:
        predictor.close()


def shards_for(rows: int) -> int:
    """How many shards so many rows are scored in unless somebody says otherwise."""
    return 1 if rows <= _WHOLE else min(_MOST, -(-rows // _SHARD))


class _Scoring:
    """One call."""

    def __init__(
        self,
        asked: Asked,
        engine: Engine,
        pieces: Sequence[Piece],
        schema: pa.Schema,
        progress: Progress | None,
    ) -> None:
        self._asked, self._engine, self._schema = asked, engine, schema
        self._progress, self._done = progress, 0
        self._total = sum(piece.rows for piece in pieces)
        self._most = asked.rules.most(self._total)
        self._parts = split(pieces, asked.shards or shards_for(self._total))

    def run(self) -> Done:
        """Score what is missing, then put it together."""
        folder = self._asked.folder
        with folder.held(self._identity()):
            _refuse_existing(self._asked, folder)
            if self._asked.target.exists():  # Only the end of an earlier call was missing.
                return self._told(folder.records(len(self._parts)), len(self._parts))
            shards: list[Shard] = []
            found = 0
            for number, pieces in enumerate(self._parts):
                shard = folder.find(number)
                if shard is None:
                    shard = self._score(folder, number, pieces, _bad(shards))
                else:
                    found += 1
                    self._tick(sum(piece.rows for piece in pieces))
                shards.append(shard)
            self._publish(folder, shards)
        return self._told(shards, found)

    def _told(self, shards: Sequence[Shard], found: int) -> Done:
        return Done(sum(shard.rows for shard in shards), _bad(shards), len(shards), found)

    def _score(self, folder: Folder, number: int, pieces: Sequence[Piece], bad: int) -> Shard:
        with folder.making(number) as (out, quarantine):
            scored = self._engine.run(
                pieces, self._schema, out, quarantine, self._most, self._tick, bad_before=bad
            )
            return folder.finish(number, scored.rows, scored.quarantined)

    def _publish(self, folder: Folder, shards: Sequence[Shard]) -> None:
        """The shards as one file, named last."""
        if _bad(shards) > self._most:  # Shards of an earlier call, which allowed more.
            raise BadData(f"{_bad(shards):,} rows are bad", f"{self._most:,} may be", MEND)
        out = folder.output(0)
        if len(shards) > 1:
            out = folder.path / "whole"
            join((folder.output(number) for number in range(len(shards))), out)
            sync(out)
        bad = [folder.quarantine(n) for n, shard in enumerate(shards) if shard.quarantined]
        folder.begin_publishing()
        if bad:
            quarantine = folder.path / "whole-quarantine"
            join(bad, quarantine)
            sync(quarantine)
            quarantine.replace(self._asked.quarantine)
        crashpoint("score.before_target")
        out.replace(self._asked.target)
        sync(self._asked.target.absolute().parent)
        crashpoint("score.after_target")

    def _tick(self, rows: int) -> None:
        self._done += rows
        if self._progress:
            self._progress(self._done, self._total)

    def _identity(self) -> str:
        """What must be the same for a shard of an earlier call to be taken."""
        columns, rules = self._engine.columns, self._engine.rules
        said = [
            self._engine.bundle.header.model.sha256,
            msgspec.json.encode(self._engine.bundle.signature).decode(),
            [(source.name, source.mark()) for source in self._asked.sources],
            [list(columns.ids), list(columns.carried)],
            sorted(rules.infinite),
            len(self._parts),
        ]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def quarantine_beside(target: Path) -> Path:
    """Where the rows that were left out are written unless somebody says otherwise."""
    return target.with_name(f"{target.name.removesuffix('.parquet')}.quarantine.parquet")


def _bad(shards: Sequence[Shard]) -> int:
    return sum(shard.quarantined for shard in shards)


def _refuse_existing(asked: Asked, folder: Folder) -> None:
    """Nothing is overwritten but what a call that was killed had begun to publish."""
    for path in (asked.target, asked.quarantine):
        if path.exists() and not folder.is_publishing:
            raise UsageError(f"{path} exists", "nothing is overwritten", "Choose another name.")
