"""The index against a plain dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.key_index import KeyIndex

KEYS = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1), st.sampled_from([2**63 - 1, 2**63, 2**64 - 1]))


@given(entries=st.lists(st.lists(KEYS, max_size=30), max_size=25), together=st.booleans(), asked=st.lists(KEYS, max_size=40))
def test_the_index_knows_what_a_dictionary_knows_and_later_numbers_win(entries, together, asked):
    index, model = KeyIndex(), {}
    numbered = [(np.array(keys, dtype=np.uint64), number) for number, keys in enumerate(entries)]
    for keys, number in numbered:
        model |= dict.fromkeys(keys.tolist(), number)
    if together:
        index.add(*numbered)
    else:
        for entry in numbered:
            index.add(entry)
    asked = [*asked, *model]
    assert index.find(np.array(asked, dtype=np.uint64)).tolist() == [model.get(key, -1) for key in asked]
    assert len(index) == sum(map(len, entries))


def test_one_key_at_a_time_costs_few_runs():
    index = KeyIndex()
    for number in range(3000):
        index.add((np.array([number * 0x9E3779B97F4A7C15 % 2**64], dtype=np.uint64), number))
    assert len(index._runs) <= 13
