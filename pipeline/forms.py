"""Whether an answer has the form that its request asked for, judged without the engine that was to see to it."""

from __future__ import annotations

import json
import math

from pipeline.records import Answer, Sampling


def in_form(sampling: Sampling, answer: Answer) -> bool:
    """For choices: one token, no text, a log-probability for each choice. For a schema: a JSON list of as many strings of the pattern as
    it allows. For a regex: all of the text matches. Of a usable answer; one that was cut off is no result in any form."""
    import regex  # knows \p{L}, which the standard library does not

    if sampling.choices:
        found = [answer.logprobs.get(choice, math.nan) for choice in sampling.choices]
        return not answer.text and answer.output_tokens == 1 and all(-math.inf < value < 1e-6 for value in found)
    if sampling.schema is not None:
        form = json.loads(sampling.schema)
        try:
            said = json.loads(answer.text)
        except ValueError:
            return False
        if not isinstance(said, list) or not form["minItems"] <= len(said) <= form["maxItems"]:
            return False
        return all(isinstance(one, str) and regex.fullmatch(form["items"]["pattern"], one) for one in said)
    return sampling.regex is None or regex.fullmatch(sampling.regex, answer.text) is not None
