"""What an input has to look like, and the contract of a dump of reviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Contract:
    """An input's columns by name and type, which of them every file must have, which may be left blank."""

    columns: Mapping[str, pl.DataType]
    required: tuple[str, ...]
    optional_text: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        """Columns that hold texts, names and ids."""
        return [name for name, dtype in self.columns.items() if dtype == pl.String]

    @property
    def reject_schema(self) -> dict[str, pl.DataType]:
        """Of rows that cannot be used: where each is from, why, and its own columns."""
        return {"source_file": pl.String(), "source_row": pl.Int64(), "reason": pl.String(), **self.columns}

    def names_in_file(self, columns: Mapping[str, str]) -> dict[str, str]:
        """The contract's names to the names that a file has for them."""
        return {name: columns.get(name, name) for name in self.columns}


COLUMNS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "review_id": pl.String(),
    "text": pl.String(),
    "rating": pl.Float64(),
    "created_at": pl.Datetime("us"),
    "restaurant_name": pl.String(),
    "category": pl.String(),
    "area": pl.String(),
}
REVIEWS = Contract(COLUMNS, required=("restaurant_id", "text"), optional_text=("review_id",))
