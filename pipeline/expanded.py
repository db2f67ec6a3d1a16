"""Outcomes of queries to the tables of a run: explicit schemas, and rows taken over from a run before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import polars as pl

from pipeline.places import Folder
from pipeline.queries import QUERIES
from pipeline.records import Expansions, Outcome
from pipeline.rows import paid_tokens, request_row
from pipeline.schemas import REQUESTS, frame_of
from pipeline.tables import at_no_cost, both_rejects, read_again

EXPANDED: dict[str, pl.DataType] = {
    "query_id": pl.String(),
    "text": pl.String(),
    "language": pl.String(),
    "status": pl.String(),
    "error": pl.String(),
    "expansions": pl.List(pl.String()),
    "dropped_count": pl.Int64(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "finished_s": pl.Float64(),
    "fingerprint": pl.String(),
    "reused": pl.Boolean(),
}


@dataclass(frozen=True, slots=True)
class Expanded:
    """The three tables of `expand-queries`."""

    job: ClassVar[str] = "expand-queries"
    plural: ClassVar[str] = "queries"
    id: ClassVar[str] = "query_id"
    schemas: ClassVar[Mapping[str, Mapping[str, pl.DataType]]] = {"queries": EXPANDED, "requests": REQUESTS}
    beside: ClassVar[Sequence[str]] = ()
    queries: pl.DataFrame
    rejects: pl.DataFrame
    requests: pl.DataFrame

    @property
    def rows(self) -> pl.DataFrame:
        """One row per query."""
        return self.queries

    @property
    def counts(self) -> Mapping[str, Any]:
        """Expansions that were kept, and dropped."""
        kept = int(self.queries["expansions"].list.len().sum())
        return {"expansions": kept, "dropped": int(self.queries["dropped_count"].sum())}

    @classmethod
    def empty(cls) -> Self:
        """Tables without rows."""
        return cls(*(pl.DataFrame(schema=dict(schema)) for schema in (EXPANDED, QUERIES.reject_schema, REQUESTS)))

    @classmethod
    def read(cls, folder: Folder, rows: pl.Expr | None = None) -> Self:
        """A run's tables, or `rows` of them. Raises OSError, PolarsError."""
        queries, rejects = read_again(folder, ("queries", "rejects"), rows)
        return cls(queries, rejects, pl.DataFrame(schema=REQUESTS))

    def carry_over(self, previous: Expanded, unchanged: Collection[str]) -> Expanded:
        """These tables and the rows that `previous` has for the unchanged queries, at no cost of this run."""
        return self._with(previous, pl.col("query_id").is_in(sorted(unchanged)))

    def keep_others(self, previous: Expanded) -> Expanded:
        """These tables and all that `previous` has for queries that are not in them; its requests stay that run's own story."""
        others = pl.col("query_id").is_in(self.queries["query_id"].implode()).fill_null(False).not_()
        return replace(self._with(previous, others), rejects=both_rejects(self.rejects, previous.rejects.filter(others), self.id))

    def _with(self, previous: Expanded, rows: pl.Expr) -> Expanded:
        return replace(self, queries=pl.concat([self.queries, at_no_cost(previous.queries.filter(rows))]).sort("query_id"))


def expanded(outcomes: Iterable[Outcome], rejects: pl.DataFrame, fingerprints: Mapping[str, str]) -> Expanded:
    """The three tables. A row that may succeed another time gets no fingerprint, so that the next run looks at it again."""
    queries: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    for outcome in outcomes:
        row = query_row(outcome)
        queries.append({**row, "fingerprint": None if outcome.again else fingerprints[row["query_id"]]})
        requests += [request_row(asked) for asked in outcome.asked]
    return Expanded(frame_of(queries, EXPANDED).sort("query_id"), rejects, frame_of(requests, REQUESTS))


def query_row(outcome: Outcome) -> dict[str, Any]:
    """The row of `queries.parquet`. Where there is no result, expansions and dropped_count are null and `error` says why."""
    (query,) = outcome.restaurant.reviews
    result: Expansions | None = outcome.results.get("query_expansion")
    return {
        "query_id": outcome.restaurant.restaurant_id,
        "text": query.text,
        "language": query.language,
        "status": outcome.status,
        "error": "; ".join(outcome.errors.values()) or None,
        "expansions": list(result.found) if result else None,
        "dropped_count": result.dropped if result else None,
        **paid_tokens(outcome),
        "finished_s": outcome.finished_s,
        "reused": False,
    }
