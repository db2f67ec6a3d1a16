"""What a small model may say, and what may happen to it while it does."""

import json
import random

from pipeline.errors import Stopped
from pipeline.job import Stop

SENTENCES = (
    "The noodles were fresh and tasty.",
    "Our waitress was kind and quick.",
    "Cheap lunch deal for large portions.",
    "The garden with candles is lovely.",
    "The soup was cold and the waiter rude.",
    "국물이 진하고 맛있어요.",
    "직원이 친절하고 가게가 깨끗해요.",
)


def text_of(request):
    """What a small model might say: some of it is in the reviews."""
    some = random.Random(request.key).sample(SENTENCES, 2)
    return json.dumps([one.rstrip(".") for one in some]) if request.task == "strengths" else "\n- ".join(["", *some])


def one_in(number, salt=0):
    """Holds for one request in so many, always the same ones; never for an anchor, without which a run ends at once."""
    return lambda request: (int(request.key[-4:], 16) + salt) % number == 0 and request.stage != "calibrate"


class DiesAt:
    """An engine's step at which it dies."""

    def __init__(self, step):
        self._left = step

    def __call__(self, inside):
        self._left -= 1
        return self._left == 0


class StopsAt(Stop):
    """A signal that comes at so many checks."""

    def __init__(self, check):
        self._left = check

    def __call__(self):
        self._left -= 1
        if self._left == 0:
            raise Stopped(15)
