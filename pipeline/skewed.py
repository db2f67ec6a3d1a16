"""A part of a dump in which a few restaurants have most reviews, as in a real one: what orders are compared on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.dump import Dump
from pipeline.errors import BadData


@dataclass(frozen=True, slots=True)
class Cut:
    """`count` restaurants of a dump, drawn with `seed`, each cut to a number of reviews that is log-uniform between `least` and `most` (all
    that it has, where those are fewer), rows in an order that is drawn as well. The same reviews give the same cut in whatever order."""

    count: int
    seed: int
    least: int = 2
    most: int = 100

    def of(self, dump: Dump, but: Collection[str] = ()) -> Dump:
        """The cut, of restaurants other than `but`. Raises BadData where the dump has fewer restaurants than that."""
        left = dump.without(but)
        names = np.array(left.names.to_list(), dtype=object)
        if len(names) < self.count:
            raise BadData(f"{len(names)} restaurants are there to draw {self.count} from; ask for fewer, or name another dump")
        random = np.random.default_rng(self.seed)
        chosen = random.permutation(names)[: self.count].tolist()
        sizes = np.exp(random.uniform(np.log(self.least), np.log(self.most + 1), self.count)).astype(int).tolist()
        most = pl.DataFrame({"restaurant_id": chosen, "most": sizes}, schema_overrides={"restaurant_id": pl.String})
        kept = (
            left.reviews.join(most, on="restaurant_id")
            .sort("restaurant_id", "review_id")
            .filter(pl.int_range(pl.len()).over("restaurant_id") < pl.col("most"))
            .drop("most")
        )
        places = pl.Series(random.permutation(kept.height), dtype=kept.schema["arrival"])
        reviews = kept.with_columns(arrival=places).sort("arrival")
        return left.without(set(names.tolist()) - set(chosen)).of_these(reviews)
