"""What a server of MLX takes of a Mac's memory: weights, the caches of all requests, copies that it keeps of them, the peak of reading prompts."""

from __future__ import annotations

from dataclasses import replace

from planner.engines.metal import largest_buffer_bytes, wired_bytes
from planner.engines.mlx.ask import MlxAsk
from planner.engines.mlx.memory import Stored, cache_bytes, stored
from planner.engines.mlx.prefill import PROMPTS_AT_ONCE, STEPS, Layers, Peak, Prompts
from planner.facts.attention import Attention
from planner.facts.context import POOLING_CONTEXT, USEFUL_CONTEXT
from planner.facts.plan import How, Line, exactly, longest_context
from planner.facts.record import dataclass
from planner.units import gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a server is told: tokens of a conversation, bits of the cache, tokens of a prompt's step."""

    context: int
    kv_bits: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The terms of one server; its weights are counted once."""

    ask: MlxAsk
    weights: Stored
    layers: Layers

    @classmethod
    def of(cls, ask: MlxAsk) -> Ledger:
        """The ledger of a question; mlx_lm.server leaves a vision tower out (its models' sanitize)."""
        released = "" if ask.missing else ask.released  # conversions of several widths are younger than quantized embeddings
        weights = stored(ask.model, ask.form, vision=ask.engine == "mlx-vlm", released=released)
        return cls(ask=ask, weights=weights, layers=Layers.of(ask.model, ask.engine))

    def lines(self, choice: Choice) -> tuple[Line, ...]:
        """The terms for a choice."""
        ask, users, held = self.ask, self.ask.at_once(choice.kv_bits), self.weights
        vision = "; vision in 16 bits" if ask.model.vision and ask.engine == "mlx-vlm" else ""
        weights = exactly("weights", "weights", held.usual, f"{ask.form.name}, exact{vision}")
        if held.differs:
            weights = replace(weights, low_bytes=held.low, high_bytes=held.high, how=How.DERIVED, note=f"{ask.form.name}{vision}; {held.differs}")
        if ask.missing:
            weights = replace(weights, how=How.DERIVED, note=f"{ask.form.name}{vision}, as far as it is known")
        if ask.model.typed:
            weights = replace(weights, how=How.DERIVED, note=f"derived: its config was typed from public facts{'; ' * bool(held.differs)}{held.differs}")
        cache = users * self._conversation_bytes(choice)
        return (weights, exactly("kv_cache", "KV cache", cache), *self._copies(choice), _line(self.peak(choice), choice))

    def peak(self, choice: Choice) -> Peak:
        """The peak of reading as many prompts side by side as the server does."""
        ask, users = self.ask, self.ask.at_once(choice.kv_bits)
        is_vlm = ask.engine == "mlx-vlm"
        rows = min(users, PROMPTS_AT_ONCE if is_vlm else ask.prompts)
        return self.layers.peak(Prompts(tokens=choice.context, rows=rows, step=choice.step, kv_bits=choice.kv_bits, embedded=users if is_vlm else 0))

    def most_bytes(self, choice: Choice) -> int:
        """The conservative sum."""
        return sum(line.high_bytes for line in self.lines(choice))

    @property
    def available_bytes(self) -> tuple[int, int]:
        """What the GPU may wire, less what others have of it: expected and conservative."""
        expected, conservative = wired_bytes(self.ask.group.gpu, self.ask.wired_limit_mb)
        return expected - self.ask.group.taken_bytes, conservative - self.ask.group.taken_bytes

    @property
    def buffer_bytes(self) -> tuple[int, int]:
        """The largest single buffer that Metal gives, expected and conservative."""
        return largest_buffer_bytes(self.ask.group.gpu)

    def fits(self, choice: Choice) -> bool:
        """Whether it surely fits, and no buffer is larger than Metal gives."""
        return self.most_bytes(choice) <= self.available_bytes[1] and self.peak(choice).buffer <= self.buffer_bytes[1]

    def longest(self, kv_bits: int, step: int) -> int:
        """The longest conversation that surely fits."""
        return longest_context(self.ask.model.max_position_embeddings, lambda tokens: self.fits(Choice(context=tokens, kv_bits=kv_bits, step=step)))

    def choice(self) -> Choice:
        """16 bits before 8, which mlx_lm.server does not batch; of the steps the fastest that does, or that costs no more than a fifth of the length."""
        ask = self.ask
        steps = (ask.prefill_step,) if ask.prefill_step else STEPS
        widths = (ask.kv_bits,) if ask.kv_bits else (16, 8) if ask.may_quantize and ask.at_once(8) == ask.users else (16,)
        limit = ask.model.max_position_embeddings
        useful = min(USEFUL_CONTEXT, limit)
        choice = Choice(context=ask.context or self._short(widths[0], steps[-1]), kv_bits=widths[0], step=steps[0] if ask.context else steps[-1])
        for kv_bits in widths:
            if ask.context:
                fitting = next((step for step in steps if self.fits(replace(choice, kv_bits=kv_bits, step=step))), None)
                if fitting:
                    return replace(choice, kv_bits=kv_bits, step=fitting)
                continue
            most = POOLING_CONTEXT if ask.model.pooling else limit
            farthest = min(most, self.longest(kv_bits, steps[-1]))
            step, length = next((step, length) for step in steps if 5 * (length := min(most, self.longest(kv_bits, step))) >= 4 * farthest)
            if length:
                choice = Choice(context=length, kv_bits=kv_bits, step=step)
            if ask.model.pooling or length >= useful:
                break
        return choice

    def _short(self, kv_bits: int, step: int) -> int:
        """A conversation where none surely fits: 4,096 tokens, or what the expected figures leave."""
        shortest = min(4096, self.ask.model.max_position_embeddings)
        return longest_context(shortest, lambda length: self._may_fit(Choice(context=length, kv_bits=kv_bits, step=step))) or shortest

    def _may_fit(self, choice: Choice) -> bool:
        return sum(line.bytes for line in self.lines(choice)) <= self.available_bytes[0] and self.peak(choice).buffer <= self.buffer_bytes[0]

    def _conversation_bytes(self, choice: Choice) -> int:
        """The caches of one request; mlx-vlm keeps the last layer's in 16 bits (models/cache.py should_quantize_kv_layer)."""

        def held(cache: Attention, bits: int) -> int:
            return cache_bytes(cache, choice.context, bits, step=choice.step)

        total = sum(count * held(cache, choice.kv_bits) for cache, count in self.layers.kinds)
        if choice.kv_bits == 16 or self.ask.engine == "mlx-lm" or self.ask.model.layer_count <= 2:
            return total
        return total + sum(held(cache, 16) - held(cache, choice.kv_bits) for cache in self.layers.last)

    def _copies(self, choice: Choice) -> tuple[Line, ...]:
        """What a server keeps of prompts beside the caches of running requests.

        mlx_lm.server copies a request's cache where its prompt ends, and again where a conversation goes on (server.py insert_cache,
        models/cache.py LRUPromptCache); --prompt-cache-bytes bounds it only when the next request comes. Tried: 127 MB for a prompt of 66 MB.
        """
        ask, users = self.ask, self.ask.at_once(choice.kv_bits)
        if ask.model.is_encoder or ask.model.pooling or not ask.keeps_prompts:
            return ()
        most = ask.kept_bytes
        if ask.engine == "mlx-lm":
            most += max(users, ask.kept_prompts) * self._conversation_bytes(choice)
        line = Line(
            key="prompt_cache",
            name="kept prompts",
            bytes=0,
            low_bytes=0,
            high_bytes=most,
            how=How.DERIVED,
            note="copies that the server keeps of conversations",
        )
        return (line,) if most else ()


def _line(term: Peak, choice: Choice) -> Line:
    scores = f", scores of attention of up to {gib(term.buffer)}" if term.buffer > choice.step * choice.context else ""
    return Line(
        key="activation",
        name="prefill",
        bytes=term.usual,
        low_bytes=term.low,
        high_bytes=term.high,
        how=How.CALIBRATED,
        note=f"a step of {choice.step:,} tokens{scores}; {term.measured}",
    )
