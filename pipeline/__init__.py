"""Restaurant reviews in Parquet to per-restaurant results in Parquet, computed by a language model on an in-process vLLM.

dump ─ reviews.py ─▶ reviews, rejects         inputs.py says which files; selected rows = reviews + rejects
  restaurants.py ─▶ restaurants, chunks       grouped, ordered by time, tokenised in batches (tokens.py)
    tasks/ ─▶ requests                        a plan per task and restaurant: a generator of requests
      run.py: store.py ─▶ order.py ─▶ engine.py   the loop: what is known already, which goes next, a bounded window inside vLLM
        ─▶ answers ─▶ plans go on             until every plan has its result or its reason, and each answer is stored
          rows.py, results.py ─▶ Parquet      one row per restaurant, the manifest last, one atomic commit
analysis.py is these stations in a row; api.py makes one call of it, `from pipeline import analyze`; `jobs/` turns it into commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what a type checker sees of the names below
    from pipeline.api import analyze as analyze
    from pipeline.engine import VllmEngine as VllmEngine
    from pipeline.job import Job as Job
    from pipeline.order import ORDERS as ORDERS
    from pipeline.reviews import Selection as Selection
    from pipeline.reviews import read as read
    from pipeline.run import Loop as Loop

_PUBLIC = {
    "analyze": "pipeline.api",
    "Job": "pipeline.job",
    "Selection": "pipeline.reviews",
    "Shard": "pipeline.shard",
    "read": "pipeline.reviews",
    "ORDERS": "pipeline.order",
    "Loop": "pipeline.run",
    "VllmEngine": "pipeline.engine",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
