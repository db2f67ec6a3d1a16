"""A comparison of orders in files: figures, a picture, and a table of restaurants."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipeline import durable
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.order_figures import complete
from pipeline.order_plot import draw_orders
from pipeline.orders_compared import Compared
from pipeline.table_file import TableFile
from pipeline.timeline import Timeline

JSON, PLOT, TABLE = "compare.json", "compare.png", "compare.parquet"


def write(folder: Path, compared: Compared, title: str) -> Path:
    """compare.json, compare.png and compare.parquet; the path of the first. Raises TryAgain where they cannot be written, BadConfiguration
    without matplotlib."""
    lines = [{name: _complete(one) for name, one in side.items()} for side in (compared.measured, compared.predicted)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.write_json(folder / JSON, compared.found)
        durable.write(folder / PLOT, draw_orders(title, *lines))
        with TableFile(folder / TABLE) as file:
            for measured, side in ((True, compared.measured), (False, compared.predicted)):
                for name, timeline in side.items():
                    file.write(_by_restaurant(timeline, name, measured))
    except ImportError:
        raise BadConfiguration("matplotlib cannot be imported; run `make setup`, or install the extra 'evaluate'") from None
    except OSError as error:
        raise TryAgain(f"{folder}: the comparison could not be written ({durable.first_line(error)}); make room and run again") from None
    return folder / JSON


def _by_restaurant(timeline: Timeline, order: str, measured: bool) -> pl.DataFrame:
    """When each restaurant was complete in this order, measured or predicted: who gains by an order, and who pays."""
    due = pl.DataFrame(list(timeline.due_s.items()), schema={"restaurant_id": pl.String(), "due_s": pl.Float64()}, orient="row")
    rows = timeline.restaurants.join(due, on="restaurant_id", how="left", maintain_order="left")
    return rows.select(pl.lit(order).alias("order"), pl.lit(measured).alias("measured"), pl.all())


def _complete(timeline: Timeline) -> pl.Series:
    return complete(timeline)["finished_s"]
