"""Work of any size, drawn: reviews of as many restaurants as it takes, with costs as the job deals them, and lines through a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.costs import OUTPUT_TOKENS
from pipeline.forecast import Predictor
from pipeline.job import CHUNK_TOKENS
from pipeline.sampling import MAX_REVIEWS
from pipeline.simulation.dealt import Numbers
from pipeline.simulation.drawn import FIND, MARKS, PART, QUESTION, REVIEW_TOKENS, Drawn
from pipeline.simulation.passes import Worker
from pipeline.simulation.sampled_pieces import Line, Sampled
from pipeline.tasks.known import TASKS

SAMPLE_REVIEWS = 60_000
"""Of the restaurants that are simulated."""


def costs_of(sizes: Sequence[int] | npt.NDArray[np.int64], worker: Worker) -> Numbers:
    """Milliseconds by restaurant of so many reviews, as a driver predicts them from its estimates."""
    distinct, places = np.unique(np.asarray(sizes, dtype=np.int64), return_inverse=True)
    of_engine = worker.shape
    known = replace(worker.rates, output_tokens={**OUTPUT_TOKENS, **worker.rates.output_tokens})
    predictor = Predictor(known, of_engine.max_num_seqs, of_engine.block_size, of_engine.max_num_batched_tokens)
    alone, chunked = REVIEW_TOKENS + QUESTION, REVIEW_TOKENS + MARKS
    each = [
        1000 * predictor.expected(size * alone + min(size, MAX_REVIEWS) * chunked + PART + FIND, size, TASKS, CHUNK_TOKENS)
        for size in distinct.tolist()
    ]
    found: Numbers = np.array(each, dtype=np.float64)[places]
    return found


def sizes_of(reviews: int, drawn: Drawn, largest: int = 0) -> npt.NDArray[np.int64]:
    """Reviews by restaurant, at least so many together, distributed as in a draw, and one of `largest` reviews beside them."""
    random = np.random.default_rng(drawn.seed)
    ends = np.log(drawn.least), np.log(drawn.most + 1)
    sizes = [np.empty(0, dtype=np.int64)]
    left = reviews - largest
    while left > 0:
        some = np.exp(random.uniform(*ends, 1 << 16)).astype(np.int64)
        some = some[: int(np.searchsorted(np.cumsum(some), left)) + 1]
        sizes.append(some)
        left -= int(some.sum())
    return np.concatenate([*sizes, np.array([largest] if largest else [], dtype=np.int64)])


def drawn_work(sizes: npt.NDArray[np.int64], drawn: Drawn, worker: Worker, least: float = 0.0) -> Sampled:
    """Of restaurants of these sizes; `drawn`: the sample, whatever its count."""
    few = replace(drawn, count=max(round(SAMPLE_REVIEWS / float(sizes.mean())), 40))
    costs = costs_of(few.sizes, worker).tolist()
    first, second = (Line.through(few, costs, worker, second, drawn.seed) for second in (False, True))
    return Sampled(-np.sort(-costs_of(sizes, worker)), first, second, len(sizes), least)
