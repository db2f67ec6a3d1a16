"""One run on many machines. Nothing here is imported where a run works alone, and Ray only where workers are started."""
