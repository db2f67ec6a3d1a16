"""What an endpoint says of the model behind it, and how it is made sure that its tokenizer is ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import BadConfiguration
from pipeline.tokens import Tokens

PROBE = "Crème brûlée: 12,345 won!\n\nTwo  spaces, 국물이 진하고 맛있어요 ㅋㅋ, 北京烤鸭, \U0001f44d\U0001f3fd don't <b>stop</b>"
"""Letters with marks, numbers, line ends, spaces, four scripts, an emoji of two parts: where tokenizers differ, they differ here."""


@dataclass(frozen=True, slots=True)
class Served:
    """`name`: of the model, as the endpoint calls it. `root`: where its files come from, as far as it says. `revision` and
    `answer_settings` as of an engine on this machine, None where the endpoint does not say them."""

    name: str
    root: str
    max_model_len: int
    revision: str | None = None
    answer_settings: Mapping[str, Any] | None = None


def compare_tokens(theirs: Sequence[int], tokens: Tokens, model: str, url: str) -> None:
    """`theirs`: the ids of PROBE there. Raises BadConfiguration where ours are others: prompts would be nonsense to that model."""
    ours = tokens.part(PROBE).tolist()
    if list(theirs) != ours:
        raise BadConfiguration(
            f"{url} serves {model} with another tokenizer than the one here ({len(theirs)} and {len(ours)} tokens for the same text); "
            "name the served model with --model"
        )
