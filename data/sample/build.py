"""Write reviews.parquet and queries.parquet from their .jsonl, run as `python data/sample/build.py`.

Rows are shuffled with a fixed seed, because real dumps are not sorted either. The same source and
the same version of Polars give the same bytes.
"""

import random
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
SEED = 20250103
REVIEWS = {
    "restaurant_id": pl.String,
    "restaurant_name": pl.String,
    "review_id": pl.String,
    "text": pl.String,
    "rating": pl.Float64,
    "created_at": pl.String,
    "category": pl.String,
    "area": pl.String,
}
QUERIES = {"query_id": pl.String, "text": pl.String, "language": pl.String}


def build(source: Path, target: Path, schema: dict[str, type[pl.DataType]]) -> None:
    """Write the rows of `source` (JSON lines) to `target` (Parquet), shuffled."""
    found = pl.read_ndjson(source, schema=schema)
    if "created_at" in schema:
        found = found.with_columns(pl.col("created_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us"))
    rows = list(range(found.height))
    random.Random(SEED).shuffle(rows)
    found[rows].write_parquet(target, compression="zstd", compression_level=3)


if __name__ == "__main__":
    build(HERE / "reviews.jsonl", HERE / "reviews.parquet", REVIEWS)
    build(HERE / "queries.jsonl", HERE / "queries.parquet", QUERIES)
