"""A feature view: which columns a use case offers to models, and under which version.

Raise the version when the meaning of a column changes; a server refuses a bundle whose view it
does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from registry.errors import BadData
from registry.models.signature import Input, Output, Signature

AS_OF = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "category": pa.string(),
}


@dataclass(frozen=True)
class Column:
    """One feature. A category's vocabulary is learnt from the training window."""

    name: str
    type: Literal["float64", "int64", "bool", "category"] = "float64"

    @property
    def arrow(self) -> pa.DataType:
        """The type of its values in a table; a category's are texts."""
        return _TYPES[self.type]


@dataclass(frozen=True)
class FeatureView:
    """Features of `entity` (the id column) as they were known before the time `as_of`."""

    name: str
    version: int
    entity: str
    columns: tuple[Column, ...]
    as_of: str = "as_of"

    @property
    def names(self) -> list[str]:
        """Names of the features, in the order of a model's inputs."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of a table of this view: entity, as_of (UTC, µs), then the features."""
        fields = [pa.field(self.entity, pa.string(), nullable=False)]
        fields.append(pa.field(self.as_of, AS_OF, nullable=False))
        fields += [pa.field(column.name, column.arrow) for column in self.columns]
        return pa.schema(fields)

    def conform(self, table: pa.Table) -> pa.Table:
        """The `table` with exactly this view's schema, sorted by (as_of, entity).

        Raises:
            BadData: columns are missing, values do not convert without loss, the entity or as_of
                is null, or an entity appears twice.
        """
        missing = [name for name in self.schema.names if name not in table.column_names]
        if missing:
            raise BadData(
                f"the feature view {self.name} lacks columns",
                ", ".join(missing),
                "Let the use case's features() return every column of VIEW.",
            )
        try:
            table = table.select(self.schema.names).cast(self.schema)
        except (pa.ArrowException, ValueError) as error:
            raise BadData(
                f"the feature view {self.name} has values of a wrong type", str(error)
            ) from None
        self._check_entities(table)
        return table.sort_by([(self.as_of, "ascending"), (self.entity, "ascending")])

    def signature(
        self, vocabularies: Mapping[str, Sequence[str]], outputs: Sequence[str]
    ) -> Signature:
        """The signature of a model on this view, with a vocabulary per category."""
        inputs = tuple(
            Input(column.name, column.type, tuple(vocabularies[column.name]))
            if column.type == "category"
            else Input(column.name, column.type)
            for column in self.columns
        )
        return Signature(inputs, tuple(Output(name) for name in outputs))

    def vocabularies(self, table: pa.Table) -> dict[str, list[str]]:
        """The sorted distinct values of each category in `table`."""
        return {
            column.name: sorted(pc.unique(table.column(column.name)).drop_null().to_pylist())
            for column in self.columns
            if column.type == "category"
        }

    def _check_entities(self, table: pa.Table) -> None:
        ids = table.column(self.entity)
        if ids.null_count or table.column(self.as_of).null_count:
            raise BadData(f"a row of {self.name} has no {self.entity} or no {self.as_of}")
        if pc.count_distinct(ids).as_py() != len(ids):
            doubled = next(v["values"] for v in pc.value_counts(ids).to_pylist() if v["counts"] > 1)
            raise BadData(f"{self.entity} {doubled!r} appears twice in {self.name}")
