"""Committed runs that no engine has made: tables of the real columns and a manifest, for tests of what reads them."""

import json
from datetime import UTC, datetime
from pathlib import Path

from pipeline.reviews import REVIEWS as INPUT
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS, frame_of

COSTS = {
    "engine": {"seconds": 40.0, "steps": 300, "prefilled": 20_000, "decoded": 3_000, "warm_up_s": 1.0, "stepping_s": 39.0, "idle": 0.5},
    "tasks": [],
    "model": {
        "predicted_s": 44.0,
        "measured_s": 40.0,
        "before": {"steps": 0},
        "after": {"step_s": 0.03, "prefill_s": 0.001, "decode_s": 0.004, "steps": 300, "error": 0.1},
    },
}


def restaurant(name, reviews=1, positive=None, **other):
    """A row of `restaurants.parquet`, labels for all reviews."""
    positive = reviews // 2 if positive is None else positive
    return {
        "restaurant_id": name,
        "status": "ok",
        "review_count": reviews,
        "sampled_count": reviews,
        "rejected_count": 0,
        "truncated_count": 0,
        "positive_count": positive,
        "neutral_count": 0,
        "negative_count": reviews - positive,
        "unlabelled_count": 0,
        "positive_ratio": positive / reviews if reviews else None,
        "summary": f"{name} is fine.",
        "summary_kind": "generated",
        "summary_sentences": [{"text": f"{name} is fine.", "review_ids": [f"{name}-0"]}],
        "strengths": [],
        "strengths_kind": "single",
        "dropped_claims": 0,
        "peers": [],
        "prompt_tokens": 100,
        "cached_tokens": 40,
        "output_tokens": 10,
        "finished_s": 3.0,
        "fingerprint": f"own {name}-0",
        "reused": False,
        **other,
    }


def review(place, number, **other):
    """A row of `reviews.parquet`."""
    return {"restaurant_id": place, "review_id": f"{place}-{number}", "sentiment": "positive", "score": 1.0, "flags": [], **other}


def made_run(folder: Path, restaurants, reviews=None, rejects=(), run_id=None, **manifest):
    """An output folder with one committed run of these rows; returns the folder."""
    run_id = run_id or f"20261120T0300{len(list(folder.glob('runs/*'))):02}Z-abcdef"
    run = folder / "runs" / run_id
    run.mkdir(parents=True)
    if reviews is None:
        reviews = [review(row["restaurant_id"], i) for row in restaurants for i in range(row["review_count"])]
    tables = {
        "restaurants": frame_of(sorted(restaurants, key=lambda row: row["restaurant_id"]), RESTAURANTS),
        "reviews": frame_of(reviews, REVIEWS),
        "rejects": frame_of(rejects, INPUT.reject_schema),
        "requests": frame_of([], REQUESTS),
    }
    for name, table in tables.items():
        table.write_parquet(run / f"{name}.parquet")
    statuses = tables["restaurants"]["status"].value_counts()
    sentiments = {name: int(tables["restaurants"][f"{name}_count"].sum()) for name in ("positive", "neutral", "negative", "unlabelled")}
    told = {
        "run_id": run_id,
        "job": "analyze",
        "status": "complete",
        "finished_at": datetime(2026, 11, 20, 3, tzinfo=UTC).isoformat(),
        "inputs": [],
        "selection": {"restaurants": [], "since": None, "until": None, "limit": None},
        "updated": None,
        "columns": {},
        "tasks": ["sentiment", "summary", "strengths"],
        "order": "restaurant",
        "model": "embedded",
        "revision": "one",
        "identity": "one",
        "settings": {"device": "cpu", "chunk_tokens": 2560, "max_reviews": 1000, "two_stage": True, "engine_options": {"max_num_seqs": 32}},
        "wording": {"sentiment": "aaaa", "summary": "bbbb", "strengths": "cccc"},
        "calibration": {"en": {"slope": 1.0, "intercept": 0.0, "auc": 0.96, "accuracy": 0.9, "anchors": 80, "source": "anchors"}},
        "versions": {"review-digest": "0.1.0"},
        "costs": COSTS,
        "service_levels": [],
        "deadlines": None,
        "rating_agreement": None,
        "counts": {
            "restaurants": dict(statuses.iter_rows()),
            "selected": len(restaurants),
            "carried_over": 0,
            "missing": 0,
            "rejects": len(rejects),
            "requests": 10,
            "answers_reused": 2,
            "reviews": tables["reviews"].height,
            "sentiments": sentiments,
        },
        "tokens": {"prompt": 1000, "cached": 400, "output": 100},
        "seconds": {"read": 0.2, "load": 12.0, "generate": 44.0, "idle": 0.5},
        **manifest,
    }
    (run / "manifest.json").write_text(json.dumps(told))
    (folder / "current.json").write_text(json.dumps({"run": f"runs/{run_id}", "previous": None}))
    return folder
