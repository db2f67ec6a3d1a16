"""What is true of a review, as people judged it: its stars, or a column of labels. Neither model nor calibration sees it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipeline.columns import read_values
from pipeline.dump import Dump
from pipeline.errors import BadData
from pipeline.printable import printable

LABELS = {
    **{name: name for name in ("positive", "neutral", "negative")},
    **dict.fromkeys(("1", "1.0", "true"), "positive"),
    **dict.fromkeys(("0", "0.0", "false"), "negative"),
}
"""Values of a label column, in lower case and without spaces around them, and what they mean. A row without a value is left out."""
BY_RATING = "ratings: above 3 stars positive, 3 stars neutral, below negative"
MOST_SHOWN = 5


def with_truth(dump: Dump, label_column: str | None = None) -> pl.DataFrame:
    """The dump's reviews of which something is known, with the column `truth`: positive, neutral or negative.

    By rating (see BY_RATING), or by a column of the dump's own, named as in its files (see LABELS). Raises BadData where there is no such
    column, or where it holds anything else.
    """
    if label_column is None:
        stars = pl.col("rating")
        by_rating = pl.when(stars > 3).then(pl.lit("positive")).when(stars < 3).then(pl.lit("negative")).otherwise(pl.lit("neutral"))
        return dump.reviews.filter(stars.is_not_null()).with_columns(truth=by_rating)
    labels = pl.concat([_labels(file.path, label_column) for file in dump.files])
    return dump.reviews.join(labels, on=["source_file", "source_row"], how="inner")


def _labels(path: str, column: str) -> pl.DataFrame:
    """Rows of one file that have a label: source_file, source_row, truth."""
    found = read_values(path, column)
    if not (found.dtype in (pl.String, pl.Boolean, pl.Null) or found.dtype.is_numeric()):
        raise BadData(f"{printable(path)}: column '{printable(column)}' is {printable(found.dtype)}; labels are text, numbers or booleans")
    found = found.fill_nan(None) if found.dtype.is_float() else found
    values = found.cast(pl.String).str.strip_chars().str.to_lowercase().replace("", None)
    truth = values.replace_strict(LABELS, default=None, return_dtype=pl.String)
    unknown = values.filter(values.is_not_null() & truth.is_null())
    if not unknown.is_empty():
        raise BadData(
            f"{printable(path)}: column '{printable(column)}' holds {_shown(unknown.unique().sort().to_list())} in {len(unknown):,} rows; "
            f"a label is one of {', '.join(LABELS)}; convert them or name another with --label-column"
        )
    rows = pl.DataFrame({"source_row": pl.int_range(len(truth), eager=True), "truth": truth})
    return rows.drop_nulls().select(pl.lit(path).alias("source_file"), "source_row", "truth")


def _shown(values: Sequence[str]) -> str:
    return ", ".join(f"'{printable(value)}'" for value in values[:MOST_SHOWN]) + ", ..." * (len(values) > MOST_SHOWN)
