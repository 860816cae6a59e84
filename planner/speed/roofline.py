"""A roofline: seconds of a decoding step, of a prompt, and of requests that share a server.

A step reads the weights it needs and every sequence's cache, and waits for kernels to start and ranks to add up their halves:

    weights   = (dense + head + experts x touched) / (bandwidth x share)       touched = 1 - (1 - k/E) ^ (B ^ spread)
    compute   = 2 x (dense + head + experts x k/E) x B / (peak x share)
    step      = root(weights^2 + compute^2) + B x cache / (bandwidth x share) + all-reduces + launches
    prompt    = max(2 x active x I / (peak x share), weights read) + attention + all-reduces + launches + passes
    passes    = 8 bytes x hidden x (4 x layers + k x layers of experts) x I / (bandwidth x share)
    batches   = llama.cpp reads weights and launches once for each 512 tokens, passes values of 32 bits and pads each expert's tokens to 128
    added     = what the same prompt adds to steps that others decode in: it shares their weights and launches

B sequences that arrive as others leave (closed loop): one waits for a share q of the first wave of prompts, and for those that come back with one's own, more
of them the larger the part of the machine's time that prompts take. Every share is a product of named constants (planner/speed/constants.py, speed.json), fitted on published
measurements by `python -m benchmarks.speed_fit`; the derivation is in docs/speed.md.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Generic

from planner.arrays import Real, maximum, minimum
from planner.facts.record import dataclass
from planner.facts.verdict import BoundBy
from planner.speed.constants import Rates
from planner.speed.work import Work

COPY_BYTES = 8  # of a hidden value: two read and two written, in 16 bits
LAYER_COPIES = 4  # two norms, two sublayers
EXPERT_KERNELS = 8  # top k, two of the sort, two quantizations, the second matrix, activation, sum, beside the bank that `modules` counts
RECURRENT_KERNELS = 10  # convolution, gates, two norms and six of the scan in chunks (gated delta rule)
INDEX_KERNELS = 8  # scores and their largest
AT_ONCE_TOKENS = 8192  # of prompts that SGLang computes at once on a card of 60 to 160 GB (--chunked-prefill-size)


def _reads_s(work: Work[Real], rate: Rates[Real], touched: Real | int) -> Real:
    held = work.weights
    return (held.dense_bytes + held.head_bytes + held.expert_bytes * touched) / (work.peak.bandwidth_bytes_per_s * rate.bandwidth_share)


def _share_used(work: Work[Real]) -> Real:
    """The part of the experts that one token uses: all of them at most, none where there are none."""
    return minimum(work.shape.experts_per_token, work.shape.experts) / maximum(work.shape.experts, 1)


def _touched(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """The part of the experts that so many tokens use between them."""
    used: Real = 1 - (1 - _share_used(work)) ** (tokens**rate.expert_spread)
    return used


def _all_reduce_s(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """Two all-reduces a layer (links.py): 2(n-1)/n of the hidden states pass each link, in 16 bits. Nothing on one rank.

    Over PCIe NCCL sends what is small with a flag beside every word (its protocol LL): half the bandwidth, but no wait at each of 2(n-1) hops.
    """
    ranks = work.tensor_parallel_size
    moved_s = 2 * (ranks - 1) / ranks * tokens * work.shape.hidden_size * 2 / (maximum(work.peak.link_bytes_per_s, 1) * rate.link_share)
    flags_s = minimum(moved_s, 2 * (ranks - 1) * rate.hop_s) * work.peak.flagged
    per_step = rate.all_reduce_s + work.peak.link_start_s + moved_s + flags_s
    norms_s = work.shape.norm_layers * (rate.all_reduce_s + work.peak.link_start_s)
    return (2 * work.shape.layers * per_step + norms_s) * minimum(ranks - 1, 1)


def _launches_s(work: Work[Real], rate: Rates[Real]) -> Real:
    """What the kernels of all layers cost before they do anything."""
    shape = work.shape
    plain = rate.layer_s * shape.layers + rate.module_s * shape.modules + rate.moe_layer_s * shape.moe_layers
    return plain + rate.recurrent_layer_s * shape.recurrent_layers + rate.index_layer_s * shape.index_layers


def _exchange_s(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """What engines in step pass on at a layer of experts: all gather the tokens of all and sum up their parts, together the bytes of one all-reduce among all ranks."""
    ranks = work.engines * work.tensor_parallel_size
    moved_s = 2 * (ranks - 1) / ranks * tokens * work.shape.hidden_size * 2 / (maximum(work.peak.link_bytes_per_s, 1) * rate.link_share)
    return work.shape.moe_layers * (2 * (rate.all_reduce_s + work.peak.link_start_s) + moved_s) * minimum(work.engines - 1, 1)


def _passes_s(work: Work[Real], rate: Rates[Real], tokens: Real) -> Real:
    """What is done to the hidden states of a prompt between the matrices, on every rank to all of them: each time 16 bits in and out, twice.

    In a layer two norms, each with the stream beside it, and what enters and leaves attention and MLP; of each chosen expert what enters (sorted by expert) and what leaves (summed).
    """
    shape = work.shape
    copies = LAYER_COPIES * shape.layers + shape.moe_layers * minimum(shape.experts_per_token, shape.experts)
    per_token = (1 - minimum(work.passed_bytes, 1)) * COPY_BYTES * copies * shape.hidden_size + work.passed_bytes
    return per_token * tokens / (work.peak.bandwidth_bytes_per_s * rate.cache_share)


def _prompt_macs(work: Work[Real], tokens: Real) -> Real:
    """Multiplications of a token of a prompt, of whose tokens so many are computed at once, with what a kernel of experts pads.

    A product takes `expert_rows` tokens of one expert, whatever it has: the last product of one that has more is half empty on average.
    """
    used = _share_used(work)
    rows = tokens * used
    product = minimum(work.expert_rows, tokens)
    touched = 1 - (1 - used) ** tokens
    padded = maximum(rows + touched * product / 2, touched * product) / maximum(rows, 1e-9)
    macs: Real = work.weights.dense_macs + work.weights.expert_macs * used * maximum(padded, 1)
    return macs


def _batch(work: Work[Real], prompt: Real) -> Real:
    """Tokens of a prompt that are computed at once."""
    return work.in_batches * minimum(prompt, work.prompt_batch) + (1 - work.in_batches) * prompt


def _host_s(work: Work[Real], rate: Rates[Real]) -> Real:
    """What a prompt takes at least where each of its kernels is started by Python, not by a CUDA graph: in an engine that computes prompts apart (SGLang)."""
    shape = work.shape
    kernels = shape.modules + EXPERT_KERNELS * shape.moe_layers + RECURRENT_KERNELS * shape.recurrent_layers + INDEX_KERNELS * shape.index_layers
    return (1 - work.mixes) * rate.host_s * kernels


@dataclass(frozen=True, slots=True)
class Step(Generic[Real]):
    """Seconds of a decoding step by cause; weights are read while others are multiplied, of which the shorter is hidden in part."""

    weights: Real
    arithmetic: Real
    caches: Real
    all_reduces: Real
    launches: Real

    @property
    def longest(self: Step) -> BoundBy:
        """The term that takes most of it (of numbers, not of arrays)."""
        terms: dict[BoundBy, float] = {
            BoundBy.WEIGHTS: self.weights,
            BoundBy.COMPUTE: self.arithmetic,
            BoundBy.KV_CACHE: self.caches,
            BoundBy.COMMUNICATION: self.all_reduces,
            BoundBy.LAUNCHES: self.launches,
        }
        return max(terms, key=terms.__getitem__)

    @property
    def total_s(self) -> Real:
        """The whole step."""
        multiplied: Real = (self.weights**2 + self.arithmetic**2) ** 0.5
        return multiplied + self.caches + self.all_reduces + self.launches


def _decode_share(work: Work[Real], rate: Rates[Real], sequences: Real) -> Real:
    """What a batch reaches: as vectors do, behind `vector_batch` as a prompt does, where more first cost nothing (ggml-org/llama.cpp#17505, #15131)."""
    has_vectors = minimum(work.vector_batch, 1)
    wide = rate.decode_share * maximum(sequences / maximum(work.vector_batch, 1), 1)
    return (1 - has_vectors) * rate.decode_share + has_vectors * maximum(rate.decode_share, minimum(wide, rate.prefill_share))


def step(work: Work[Real], rate: Rates[Real], sequences: Real, cache_bytes: Real) -> Step[Real]:
    """One decoding step of `sequences`, each reading `cache_bytes`; of one that verifies drafts what it and they take for each token that it gives.

    A drafter's passes follow one another, each with weights and starts of its own; the kernels of its target are taken for its.
    """
    drafts = work.drafts
    if drafts is None:
        return _step(work, rate, sequences, cache_bytes)
    parts = [_step(work, rate, sequences, cache_bytes, drafts.tokens + 1)]
    parts += [_step(drafts.work, rate, sequences, 0 * cache_bytes)] * drafts.tokens if drafts.work else []
    weights, arithmetic, caches, all_reduces, launches = (sum(getattr(part, term.name) for part in parts) / drafts.length for term in fields(Step))
    return Step(weights, arithmetic, caches, all_reduces, launches + drafts.step_s / drafts.length)


def _step(work: Work[Real], rate: Rates[Real], sequences: Real, cache_bytes: Real, tokens: int = 1) -> Step[Real]:
    """A step of so many tokens of each sequence, which read its cache together."""
    together = maximum(sequences / work.batches, 1)  # of all engines
    own = maximum(together / work.engines, 1)
    macs = (work.weights.dense_macs + work.weights.head_macs) * own + work.weights.expert_macs * _share_used(work) * together
    macs = macs * tokens
    return Step(
        weights=_reads_s(work, rate, _touched(work, rate, together * tokens)),
        arithmetic=2 * macs / (work.peak.flops * _decode_share(work, rate, own * tokens)),
        caches=own * cache_bytes / (work.peak.bandwidth_bytes_per_s * rate.cache_share),
        all_reduces=_all_reduce_s(work, rate, own * tokens) + _exchange_s(work, rate, together * tokens),
        launches=_launches_s(work, rate) + rate.sequence_s * (own - 1) + rate.stage_s * (work.stages - 1),
    )


def prompt_s(work: Work[Real], rate: Rates[Real], prompt: Real, attention_flops: Real) -> Real:
    """Seconds to compute the keys and values of a prompt, alone on the server; stages of a layer split work on its micro-batches at once."""
    batch = _batch(work, prompt)
    times = prompt / batch
    compute = 2 * _prompt_macs(work, batch) * prompt / (work.peak.flops * work.peak.prompt_share * rate.prefill_share)
    reads = _reads_s(work, rate, _touched(work, rate, batch))
    unpacked = work.unpacked_bytes / (work.peak.bandwidth_bytes_per_s * rate.bandwidth_share)
    alone = (
        maximum(compute, times * reads)
        + attention_flops / (work.peak.flops_16bit * work.peak.prompt_share * rate.attention_share)
        + _all_reduce_s(work, rate, prompt)
        + times * (_launches_s(work, rate) + unpacked + work.expert_starts * rate.module_s)
        + work.sorting_s * prompt
    )
    alone = maximum(alone + _exchange_s(work, rate, prompt) + _passes_s(work, rate, prompt), _host_s(work, rate))
    batches = maximum(prompt / work.prompt_batch, 1)
    return alone * (batches + work.stages - 1) / (batches * work.stages)


def added_s(work: Work[Real], rate: Rates[Real], sequences: Real, prompt: Real, attention_flops: Real) -> Real:
    """Seconds that a prompt adds to the steps that it is computed in: it shares their weights and starts, and is multiplied while they are read."""
    used = work.weights.dense_macs + work.weights.expert_macs * _share_used(work)
    prompts = _prompt_macs(work, _batch(work, prompt))
    alone = (
        _reads_s(work, rate, _touched(work, rate, sequences)),
        2 * (used + work.weights.head_macs) * sequences / (work.peak.flops * _decode_share(work, rate, sequences)),
    )
    both = (
        _reads_s(work, rate, _touched(work, rate, sequences + prompt)),
        alone[1] + 2 * prompts * prompt / (work.peak.flops * work.peak.prompt_share * rate.prefill_share),
    )
    multiplied: Real = (both[0] ** 2 + both[1] ** 2) ** 0.5 - (alone[0] ** 2 + alone[1] ** 2) ** 0.5
    passed = _all_reduce_s(work, rate, sequences + prompt) - _all_reduce_s(work, rate, sequences)
    passed = passed + _exchange_s(work, rate, sequences + prompt) - _exchange_s(work, rate, sequences) + _passes_s(work, rate, prompt)
    return multiplied + attention_flops / (work.peak.flops_16bit * work.peak.prompt_share * rate.attention_share) + passed


@dataclass(frozen=True, slots=True)
class Load(Generic[Real]):
    """Who asks: `users` at a time, each with a prompt and an answer of so many tokens; what that means for the caches of the model.

    `burst` 1: all at once and only once, as a benchmark of one wave sends them; 0: each sends the next request when its answer is there.
    """

    users: Real
    prompt: Real
    answer: Real
    burst: Real | int
    cache_bytes: Real
    attention_flops: Real


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Generic[Real]):
    """Seconds that each user sees, and tokens a second of all together."""

    step_s: Real
    prompt_s: Real
    time_to_first_token_s: Real
    time_per_output_token_s: Real
    output_tokens_per_s: Real


def load(work: Work[Real], users: Real, prompt: Real, answer: Real, *, burst: int = 0) -> Load[Real]:
    """Requests of `prompt` and `answer` tokens on this server; a step halfway through the answer reads the caches of an average one."""
    return Load(users, prompt, answer, burst, work.cache_bytes(prompt + answer / 2), work.attention_flops(prompt))


def waited_s(work: Work[Real], rate: Rates[Real], asked: Load[Real], *, alone: Real, added: Real, busy: Real) -> Real:
    """Seconds of other prompts before one's own: half of all others in a burst.

    In a closed loop those of the first wave, which comes at once and decodes nothing yet, by its part of all requests; and those that came back together
    with one: how many meet grows as the root of the load, as of what is scattered at random.
    """
    users, most = asked.users, minimum(added, alone)
    decoding: Real = 0 * users + 1  # nothing is: a batch of one, whose weights hide next to nothing
    packed = minimum(added_s(work, rate, decoding, asked.prompt, asked.attention_flops), alone)
    met: Real = rate.queue_load * busy**0.5 * most * (1 - 1 / users)
    looped: Real = minimum(rate.queue * (users - 1) * packed + met, 0.5 * (users - 1) * alone)
    waited: Real = asked.burst * _burst_s(work, rate, asked, alone, most) + (1 - asked.burst) * looped
    return waited


def _burst_s(work: Work[Real], rate: Rates[Real], asked: Load[Real], alone: Real, most: Real) -> Real:
    """Seconds that a prompt of many which come at once waits for the others: half of them, and the rest of the batch that it is computed in, whose first tokens come together."""
    batch = maximum(minimum(work.prompt_batch / asked.prompt, asked.users), 1)
    one_by_one: Real = (0.5 * (asked.users + batch) - 1) * most
    if work.mixes is True:
        return one_by_one
    tokens = asked.users * asked.prompt
    together = prompt_s(work, rate, tokens, asked.users * asked.attention_flops)
    ended = 0.5 * (together + together * minimum(AT_ONCE_TOKENS / tokens, 1))
    return work.mixes * one_by_one + (1 - work.mixes) * maximum(ended - alone, 0)


def served(work: Work[Real], rate: Rates[Real], asked: Load[Real]) -> Served[Real]:
    """How a server answers a load that fits its KV cache."""
    users, answer, burst = asked.users, asked.answer, asked.burst
    full = step(work, rate, users, asked.cache_bytes).total_s
    alone = prompt_s(work, rate, asked.prompt, asked.attention_flops)
    shared = added_s(work, rate, users, asked.prompt, asked.attention_flops)
    added = work.mixes * shared + (1 - work.mixes) * alone  # what a prompt costs those who are decoding
    busy = users * added / (users * added + answer * full)
    first = alone + waited_s(work, rate, asked, alone=alone, added=added, busy=busy)
    decoding = minimum(maximum(users * (1 - first / (first + answer * full + (users - 1) * added)), 1.0), users)
    steady = step(work, rate, decoding, asked.cache_bytes).total_s + (decoding - 1) / answer * added
    once = full + 0.5 * (users - 1) / answer * added
    per_token = burst * once + (1 - burst) * steady
    whole = full * work.drafts.length if work.drafts else full  # who comes waits for whole steps, not for a token's part of one
    arrival = first + rate.first_token_s + rate.steps_before_first * whole * (1 - 1 / users)  # a lone user waits for nobody's step
    return Served(
        step_s=full,
        prompt_s=alone,
        time_to_first_token_s=arrival,
        time_per_output_token_s=per_token,
        output_tokens_per_s=users * answer / (arrival + (answer - 1) * per_token),
    )
