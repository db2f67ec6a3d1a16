"""Dumps made up with a seed, of any size: restaurants of skewed size with plain English reviews and ratings that go with them.

For benchmarks on machines that hold no dump of their own. The reviews say simple things, so figures of quality on them are no measure of a
model; what they cost to ask about is that of real ones of their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

DISHES = """biryani ramen curry pizza burger salad soup steak kebab risotto pasta falafel dosa pho bulgogi kimbap bibimbap lasagna
paella ceviche brownie cheesecake coffee lemonade omelette sandwich goulash moussaka tiramisu baklava""".split()  # noqa: SIM905
PRAISE = (
    "The {} was fresh and full of flavour.",
    "Best {} I have had in this part of town!",
    "We loved the {} and will come back for it.",
    "The waiter recommended the {} and was right.",
    "Big portions, and the {} came out hot and quickly.",
    "Cosy place, friendly people, wonderful {}.",
    "For this price the {} is a gift.",
    "Even on a full evening the {} was done with care.",
)
BLAME = (
    "The {} was cold when it finally came.",
    "I would not order the {} again, far too salty.",
    "We waited an hour for the {} and nobody said sorry.",
    "The {} tasted as if it had been warmed up twice.",
    "Overpriced {}, and the table was sticky.",
    "They brought the wrong {} and argued about it.",
    "A small {} on a large plate, for a large bill.",
    "The {} was burnt and the waiter shrugged.",
)
MILD = (
    "We also had the {}.",
    "The {} was all right.",
    "My friend took the {} this time.",
    "There is a new {} on the card.",
)
MOST_SENTENCES = 6
REPEATED = 0.05
"""Of the reviews, how many say nothing that no other says; the others name their bill."""
DAYS = 1460
_BATCH = 1 << 16


@dataclass(frozen=True)
class Generated:
    """`restaurants` of `least` to `most` reviews, log-uniform. The same seed gives the same."""

    restaurants: int
    seed: int = 7
    least: int = 2
    most: int = 100

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Reviews by restaurant."""
        random = np.random.default_rng(self.seed)
        sizes: npt.NDArray[np.int64] = np.exp(random.uniform(np.log(self.least), np.log(self.most + 1), self.restaurants)).astype(np.int64)
        return sizes

    def tables(self) -> Iterator[pl.DataFrame]:
        """The dump's rows, some 65,000 reviews at a time: restaurant_id, restaurant_name, review_id, text, rating, created_at. Within each
        table the rows are shuffled, so that a restaurant's do not stand together."""
        ends = np.cumsum(self.sizes)
        first = 0
        while first < self.restaurants:
            before = int(ends[first - 1]) if first else 0
            last = max(int(np.searchsorted(ends, before + _BATCH, side="right")), first + 1)
            yield self._table(first, min(last, self.restaurants))
            first = last

    def _table(self, first: int, last: int) -> pl.DataFrame:
        random = np.random.default_rng([self.seed, first])
        sizes = self.sizes[first:last]
        restaurant = np.repeat(np.arange(first, last), sizes)
        count = len(restaurant)
        standing = np.repeat(random.beta(4, 2, last - first), sizes)  # how good each restaurant is
        good = random.random(count) < standing
        rating = np.where(good, random.integers(4, 6, count), random.integers(1, 3, count))
        opinions = pl.Series(np.where(good, random.integers(0, len(_GOOD), count), len(_GOOD) + random.integers(0, len(_BAD), count)))
        sentences = [_SAID.gather(opinions)]
        length = random.geometric(0.45, count).clip(1, MOST_SENTENCES)
        for number in range(2, MOST_SENTENCES + 1):
            more = _SAID.gather(len(_GOOD) + len(_BAD) + pl.Series(random.integers(0, len(_MILD), count)))
            sentences.append(more.set(pl.Series(length < number), None))
        start = int(self.sizes[:first].sum())
        bills = pl.Series(np.arange(start, start + count)).set(pl.Series(random.random(count) < REPEATED), None)
        sentences.append(pl.select(pl.format("Our bill was number {}.", bills)).to_series())
        order = random.permutation(count)
        numbers = pl.Series(np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes))
        made = pl.DataFrame({f"s{number}": one for number, one in enumerate(sentences)})
        hours = random.integers(0, 24 * DAYS, count)
        rows = pl.DataFrame({"restaurant": restaurant, "number": numbers, "rating": rating.astype(np.float64), "hours": hours})
        return rows.select(
            restaurant_id=pl.format("r{}", pl.col("restaurant").cast(pl.String).str.zfill(8)),
            restaurant_name=pl.format("Restaurant {}", "restaurant"),
            review_id=pl.format("v{}", pl.col("number")),
            text=made.select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series(),
            rating=pl.col("rating"),
            created_at=pl.datetime(2022, 1, 1) + pl.duration(hours=pl.col("hours")),
        )[order]


def _filled(templates: Sequence[str]) -> list[str]:
    return [template.format(dish) for template, dish in product(templates, DISHES)]


_GOOD, _BAD, _MILD = _filled(PRAISE), _filled(BLAME), _filled(MILD)
_SAID = pl.Series([*_GOOD, *_BAD, *_MILD])
