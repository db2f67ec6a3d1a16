"""A test engine whose clock is the simulation's: what a run measures on it is known to the last digit. No model, no waiting."""

from dataclasses import replace
from types import SimpleNamespace

from deterministic_engine import DeterministicEngine

from pipeline import clock, feed
from pipeline.costs import CostModel, Step
from pipeline.engine_settings import settings
from pipeline.simulation.blocks import Piece
from pipeline.simulation.engine import Call, SimulatedEngine
from pipeline.simulation.shapes import shape
from pipeline.steps import StepLog

RATES = CostModel(step_s=0.05, prefill_s=0.002, decode_s=0.01)


class ClockedEngine(DeterministicEngine):
    """Answers as the deterministic engine does, when the simulated one says so. `seconds` is what its clock shows."""

    def __init__(self, options, blocks=None):
        self._options, self.kv_blocks = settings("cpu", options), blocks
        self._clock = 0.0
        super().__init__()
        self.steps = StepLog()
        self.start_over("continuous")

    @property
    def seconds(self):
        return self._clock + self._inner.now_s

    @property
    def unfinished(self):
        return self._inner.unfinished

    def start_over(self, feed, as_text=False):
        self._feed = feed
        self._clock += self._inner.now_s if hasattr(self, "_inner") else 0.0
        made = shape(self._options, feed, self.kv_blocks)
        self._inner, self.window, self._pieces, self._size = SimulatedEngine(made, RATES), made.window, {}, made.block_size

    def submit(self, request, rank):
        self.submitted.append(request)
        answer = replace(self._answer(request), first_token_s=0.0)
        prompt = request.prompt.tolist()
        ends = range(self._size, len(prompt) + 1, self._size)
        chain = [self._pieces.setdefault(tuple(prompt[:end]), Piece(1)) for end in ends]
        self._inner.submit(Call(len(prompt), answer.output_tokens, chain, rank, answer))

    def step(self):
        done = self._step()
        while self._feed == "generate" and self.unfinished:
            done += self._step()
        return done

    def _step(self):
        inner = self._inner
        before = (inner.now_s, inner.prefilled, inner.decoded, inner.steps)
        done = inner.step()
        seconds, prefilled, decoded, steps = (now - then for now, then in zip(self._state(), before, strict=True))
        for number in range(steps):  # those that were passed over made one token for each that runs
            last = number == steps - 1
            made = (decoded // steps) if not last else decoded - decoded // steps * (steps - 1)
            computed = prefilled if last else 0
            self.steps.add(Step(RATES.seconds(computed, made, 1), computed, made, 0, 0))
        assert seconds >= 0
        return [replace(call.owner, cached_tokens=call.cached, first_token_s=call.first_s - call.sent_s) for call in done]

    def _state(self):
        return self._inner.now_s, self._inner.prefilled, self._inner.decoded, self._inner.steps


class ClockedMachine:
    """One such engine, and the loop's clock set by it."""

    def __init__(self, model, patch, blocks=None, **options):
        self._model = model
        self.settings = {"device": "cpu", "feed": "continuous", "engine_options": options}
        self.answer_settings = {}
        self.block_size, self.step_tokens = 32, options.get("max_num_batched_tokens", 1024)
        self.max_num_seqs = options["max_num_seqs"]
        self.max_model_len, self.window = 4096, 2 * options["max_num_seqs"]
        self.made = ClockedEngine(options, blocks)
        for module in (feed, clock):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 1.0 + self.made.seconds))

    def model(self):
        return self._model

    def engine(self, model):
        return self.made
