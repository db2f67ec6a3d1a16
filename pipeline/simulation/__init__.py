"""A run without a model: continuous batching step by step, its seconds from a cost model.

    past run, dump or draw ─ workload.py ─▶ bundles ─ loop.py ─▶ ready (a heap by order) ─ engine.py ─▶ steps ─▶ timeline
                                                                                   └ blocks.py: what the prefix cache holds

Deterministic: nothing is drawn here, and nothing is timed.
"""
