"""Reads one mutated Parquet file after another, named on stdin, and prints what became of each: [outcome, detail, peak MiB so far]."""

import json
import os
import resource
import sys
from pathlib import Path

from parquet_mutations import mutated

from pipeline.errors import JobError
from pipeline.reviews import read


def outcome(path: Path) -> tuple[str, str]:
    try:
        return "result", f"{read([str(path)]).reviews.height} reviews"
    except JobError as error:
        return type(error).__name__, str(error)
    except BaseException as error:  # panics of Polars are no Exception; whatever it is, it must be told
        return "traceback", repr(error)


def main() -> None:
    path, answers = Path(sys.argv[1]), os.fdopen(os.dup(1), "w", buffering=1)
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        path.write_bytes(mutated(line.strip()))
        print(json.dumps([*outcome(path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]), file=answers)


if __name__ == "__main__":
    main()
