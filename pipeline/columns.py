"""One file of a dump to the contract's columns: names mapped, types checked and converted, bytes decoded row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import PurePath

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from pipeline.contract import REVIEWS, Contract
from pipeline.errors import BadData, TryAgain
from pipeline.inputs import check, is_remote
from pipeline.printable import printable
from pipeline.quiet import quiet
from pipeline.store_errors import unreadable
from pipeline.store_inputs import is_listed

VISIBLE = r"[^\p{C}\p{Z}\u{115F}\u{1160}\u{3164}\u{FE0F}]"  # neither separator, control or format character nor Hangul filler

MOST_LISTED = 30
"""Columns named in an error."""
FIRST_ROWS = 10_000
"""That tell how large the others are."""


def read_file(path: str, columns: Mapping[str, str], contract: Contract = REVIEWS, pieces: int = 1) -> Iterator[pl.DataFrame]:
    """The contract's columns of one file (null where it has none), with `source_file`, `source_row`, `undecodable`; in so many pieces of
    about as many rows. Raises BadData, and TryAgain where the file has another height in the end."""
    chosen, present = _chosen(path, columns, contract)
    height = _height(path, chosen) if pieces > 1 else None
    length = -(-height // pieces) if height else None
    for start in range(0, height or 1, length or 1):
        yield _converted(path, _collect(path, chosen, present, start, length), present, contract, start)
    if height is not None and _height(path, chosen) != height:
        raise TryAgain(f"{printable(path)}: has changed while it was read; run again")


def about_bytes(path: str, columns: Mapping[str, str], contract: Contract) -> int:
    """What the contract's columns of a file, or of all files behind a URI, take in memory if all rows are like the first. For files that
    nobody can look into but Polars. Raises BadData."""
    chosen, present = _chosen(path, columns, contract)
    first = _collect(path, chosen, present, 0, FIRST_ROWS)
    return int(first.estimated_size()) * _height(path, chosen) // max(first.height, 1)


def _chosen(path: str, columns: Mapping[str, str], contract: Contract) -> tuple[pl.LazyFrame, dict[str, str]]:
    """The contract's columns that a file has, checked, and the names that it has for them."""
    wanted = contract.names_in_file(columns)
    with _reading(path):
        scan = _scan(path, {theirs: contract.columns[name] for name, theirs in wanted.items()})
        found = scan.collect_schema()
    _check_columns(path, wanted, columns, found, contract.required)
    present = {name: theirs for name, theirs in wanted.items() if theirs in found}
    return scan.select(**{name: pl.col(theirs) for name, theirs in present.items()}), present


def _height(path: str, frame: pl.LazyFrame) -> int:
    with _reading(path):
        return int(frame.select(pl.len()).collect().item())


def _converted(path: str, read: pl.DataFrame, present: Collection[str], contract: Contract, start: int) -> pl.DataFrame:
    raw = read.with_row_index("source_row", start)
    decoded = raw.with_columns(_decode(column) for column in raw).select(
        pl.lit(path).alias("source_file"),
        pl.col("source_row").cast(pl.Int64),
        *(
            _convert(name, raw.schema[name], contract).alias(name) if name in present else pl.lit(None, dtype).alias(name)
            for name, dtype in contract.columns.items()
        ),
    )
    undecodable = raw["text"].is_not_null() & decoded["text"].is_null() if "text" in present else pl.lit(False)
    return decoded.with_columns(undecodable=undecodable)


def read_values(path: str, name: str) -> pl.Series:
    """One column of a file under the file's own name for it, in the order of its rows. Raises BadData where there is none."""
    check(path, {name})
    with _reading(path):
        scan = _scan(path, {})
        found = scan.collect_schema()
    if name not in found:
        raise BadData(f"{printable(path)}: has no column '{printable(name)}' (columns found: {_listing(found)})")
    return _decode(_collect(path, scan.select(name), {name: name}, 0, None).to_series())


def _scan(path: str, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Hive keys keep the type they are wanted in: guessed from the value, `restaurant_id=007` would become 7."""
    if is_remote(path) and not is_listed(path):
        return pl.scan_parquet(path, hive_partitioning="=" in path, missing_columns="insert")
    keys = [folder.partition("=")[0] for folder in _partitions(path)]
    schema = {key: types.get(key, pl.String()) for key in keys}
    return pl.scan_parquet(path, hive_partitioning=bool(keys), hive_schema=schema or None, glob=False)


def _partitions(path: str) -> list[str]:
    """Folders like `day=2026-11-20`. Those above a hidden one, a run's own, say nothing of the rows in it."""
    folders = list(PurePath(path).parts[:-1])
    hidden = max((place for place, folder in enumerate(folders, start=1) if folder.startswith(".") and folder.strip(".")), default=0)
    return [folder for folder in folders[hidden:] if "=" in folder]


def _check_columns(path: str, wanted: Mapping[str, str], mapped: Mapping[str, str], found: pl.Schema, required: Collection[str]) -> None:
    path, listing = printable(path), _listing(found)
    for name, theirs in wanted.items():
        if theirs not in found and (name in required or name in mapped):
            hint = "" if name in mapped else f"; name yours with --column {name}=YOUR_COLUMN"
            raise BadData(f"{path}: has no column '{printable(theirs)}' (columns found: {listing}){hint}")
        dtype = found.get(theirs)
        if dtype is not None and not _accepts(name, dtype):
            expected = {"rating": "a number", "created_at": "a date or datetime", "text": "a string"}.get(name, "a string or integer")
            has = f"column '{printable(theirs)}' is {printable(dtype)}"
            raise BadData(f"{path}: {has}, expected {expected} for {name}; convert it or map another with --column")


def _listing(found: pl.Schema) -> str:
    return ", ".join(map(printable, found.names()[:MOST_LISTED])) + ", ..." * (len(found) > MOST_LISTED) or "none"


def _accepts(name: str, dtype: pl.DataType) -> bool:
    if dtype == pl.Null:
        return True
    if name == "rating":
        return dtype.is_numeric()
    if name == "created_at":
        return dtype == pl.Date or isinstance(dtype, pl.Datetime)
    textual = dtype in (pl.String, pl.Binary) or isinstance(dtype, (pl.Categorical, pl.Enum))
    return textual or (name != "text" and dtype.is_integer())


def _convert(name: str, dtype: pl.DataType, contract: Contract) -> pl.Expr:
    column = pl.col(name)
    if name == "created_at" and isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    column = column.cast(contract.columns[name], strict=False)
    if name == "rating":
        return pl.when(column == 0).then(0.0).when(column.is_finite()).then(column)  # one zero, not two
    if name == "created_at":
        return pl.when(column.dt.year().is_between(1, 9999)).then(column)  # nanoseconds taken for microseconds end in the year 50,000
    return pl.when(~blank(column)).then(column) if name in contract.optional_text else column


def _decode(column: pl.Series) -> pl.Series:
    """Bytes and categories as text; what is not UTF-8 becomes null, and a text's row a reject.

    Each distinct value is made once, the rows are views of it: a dictionary of one long text in a million rows must not become all of them.
    """
    if column.dtype == pl.Binary:
        with suppress(PolarsError):
            return column.cast(pl.String)
        once = column.unique()
        texts = pl.Series([_text(value) for value in once], dtype=pl.String)
    elif isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        once = column.unique()
        texts = once.cast(pl.String)
    else:
        return column
    distinct = pl.DataFrame([once.alias("value"), texts.alias("text")])
    return column.to_frame("value").join(distinct, on="value", how="left", maintain_order="left")["text"].alias(column.name)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def blank(column: pl.Expr) -> pl.Expr:
    """Whether nothing in a text can be seen. Looks until something can, and copies nothing."""
    return ~column.str.contains(VISIBLE)


def _collect(path: str, frame: pl.LazyFrame, present: Mapping[str, str], start: int, length: int | None) -> pl.DataFrame:
    """`length` rows from `start` on, all where it is None."""
    with _reading(path):
        try:
            return frame.slice(start, length).collect(engine="streaming")
        except (PolarsError, PanicException) as error:
            if is_remote(path) or "utf" not in str(error).lower():
                raise
        # One string that is not UTF-8 makes Polars refuse the whole file. Arrow does not look: read such columns as bytes, decode by row.
        return pl.DataFrame([_column(path, frame.select(name), theirs, start, length) for name, theirs in present.items()])


def _column(path: str, frame: pl.LazyFrame, theirs: str, start: int, length: int | None) -> pl.Series:
    try:
        return frame.slice(start, length).collect(engine="streaming").to_series()
    except PolarsError:
        file = pq.ParquetFile(path, read_dictionary=[theirs])
        ends = list(accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)))
        last = ends[-1] if length is None else start + length
        groups = [i for i, end in enumerate(ends) if end > start and end - file.metadata.row_group(i).num_rows < last]
        before = ends[groups[0]] - file.metadata.row_group(groups[0]).num_rows if groups else 0
        column = file.read_row_groups(groups, columns=[theirs]).column(theirs)
        parts = [pl.Series(part.dictionary.cast(pa.large_binary())).gather(pl.Series(part.indices)) for part in column.chunks]
        return pl.concat(parts).slice(start - before, length).alias(frame.collect_schema().names()[0])


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """What goes wrong in a reader, as one line; a panic of Polars writes its own story to stderr besides, which is kept away."""
    try:
        with quiet():
            yield
    except (pa.ArrowException, PolarsError, PanicException, OSError) as error:
        if is_remote(path):
            raise unreadable(path, error) from None
        first = "Polars panics" if isinstance(error, PanicException) else (str(error).splitlines() or [type(error).__name__])[0]
        raise BadData(f"{printable(path)}: cannot be read ({printable(first)}); write it again or leave it out") from None
