"""Sessions of agents: turns with a growing context and a tool's pause between them. How many stay warm in the KV cache, and what that does for TTFT.

Turn k of K asks with `prompt + k (answer + tool)` tokens, all but the last `tool` of which were computed before. While the cache holds the histories of
all conversations (`warm`), only the new tokens are computed. Of more conversations S, of which `a` are in the server, an LRU cache keeps `(warm - a) / (S - a)`
of the resting ones where pauses are at random (Che's characteristic time: the younger ones fill what the active ones leave); with equal pauses each is thrown
out just before it is asked for, and none is kept: the conservative outlook. A conversation is in the server for R of every R + Z seconds (Z the pause), so
that `a = S R(a) / (R(a) + Z)`; of several such numbers, which thrashing brings about, the greatest.
The derivation: docs/choosing.md. tests/questions/test_sessions.py holds it to another simulation, of the cache and of the turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.engines.vllm.ledger import MemoryBreakdown
from planner.engines.vllm.pace import basis_of
from planner.engines.vllm.plan import Plan
from planner.errors import PlannerError
from planner.facts.attention import RecurrentState
from planner.facts.question import StackRow
from planner.facts.record import dataclass
from planner.facts.verdict import Grade
from planner.questions.capacity import Limits, OneServer
from planner.questions.plan import request_of
from planner.questions.replicas import AskAgain, again, context_of, each_way, sizes
from planner.questions.vllm_capacity import known_paces, server_in_words
from planner.speed.estimate import Pace
from planner.speed.roofline import Load
from planner.units import GIB, largest

MOST_SESSIONS, MOST_TURNS, MOST_SUBAGENTS, MOST_OFFLOAD_GIB = 100_000, 10_000, 1000, 100_000
MOST_STEPS, CLOSE = 500, 1e-7  # until the number at once stays
SAMPLES = 64  # turns over which a mean is taken
# GUESS: bytes a second from main memory to a GPU, PCIe 3.0 to 5.0 with 16 lanes; nobody measured it here.
HOST_LINK = (12_000_000_000, 25_000_000_000, 50_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What an agent does: tokens of the first prompt, of each answer and of each tool's result, turns, seconds a tool takes; conversations beside it."""

    prompt: int
    answer: int
    tool: int
    turns: int
    pause_s: float
    subagents: int = 0
    offload_gib: float = 0.0
    """Main memory that keeps what leaves the KV cache, for all GPUs of a server."""

    @property
    def offload_bytes(self) -> int:
        """The same in bytes."""
        return int(self.offload_gib * GIB)

    @property
    def conversations(self) -> int:
        """Of one session at once."""
        return 1 + self.subagents

    @property
    def longest(self) -> int:
        """Tokens of the last turn with its answer."""
        return self.prompt + self.turns * self.answer + (self.turns - 1) * self.tool

    def asked(self) -> list[tuple[int, int]]:
        """Tokens that turns ask with, and how many of these are new: evenly over the session."""
        turns = self.turns if self.turns <= SAMPLES else SAMPLES
        steps = [round(number * (self.turns - 1) / max(1, turns - 1)) for number in range(turns)]
        return [(self.prompt + turn * (self.answer + self.tool), self.tool if turn else self.prompt) for turn in steps]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a mean turn sees with so many conversations: how many are in the server, which share of them is found warm, seconds."""

    active: float
    warm_share: float
    first_token_s: float
    per_token_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one server does for sessions at one outlook: how many stay warm, in its KV cache and with main memory; how many keep the limits."""

    warm: int
    warm_with_host: int
    sessions: int
    bound_by: str
    first_token_warm_s: float
    first_token_cold_s: float
    at_users: Turn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """`replicas` of a server, each of which keeps its own sessions, at three outlooks."""

    server: OneServer
    replicas: int
    grade: Grade
    because: str
    conservative: Kept
    expected: Kept
    optimistic: Kept

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.server.group.count


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsAnswer:
    """Ways to use the GPUs, the best first, and whether that one keeps what was asked with conservative figures."""

    options: tuple[Way, ...]
    session: Session
    limits: Limits
    users: int | None
    requirements_met: bool


class Turns:
    """A server at one outlook: what turns cost it."""

    def __init__(self, pace: Pace, session: Session, *, slots: int, warm: float, host: float, reload_s: float, at_random: bool) -> None:
        """`warm` and `host`: conversations that the KV cache and main memory keep; `reload_s`: one comes back from there; whether pauses are at random."""
        self._pace, self._session, self._slots, self._at_random = pace, session, max(1, slots), at_random
        self._warm, self._host, self._reload_s = warm, host, reload_s
        work, asked = pace.work, session.asked()
        self._reads = _mean([work.cache_bytes(tokens + session.answer / 2) for tokens, _ in asked])
        self._new = _mean([new for _, new in asked])
        self._all = _mean([tokens for tokens, _ in asked])
        whole = [work.attention_flops(float(tokens)) for tokens, _ in asked]
        self._flops_all = _mean(whole)
        self._flops_new = _mean([flops - work.attention_flops(float(tokens - new)) for flops, (tokens, new) in zip(whole, asked, strict=True)])

    def alone(self, *, warm: bool) -> float:
        """Seconds to the first token of a lone conversation's mean turn."""
        return self._seen(1.0, 1.0 if warm else 0.0)[0]

    def kept(self, conversations: float, active: float, room: float) -> float:
        """The share of the resting conversations that are kept, of so much room what the active ones leave."""
        if conversations <= room:
            return 1.0
        resting = conversations - active
        return max(0.0, room - active) / resting if self._at_random and resting > 0 else 0.0

    def turn(self, conversations: float) -> Turn:
        """The mean turn with so many conversations: of the numbers that may be in the server at once, the greatest that keeps itself up."""
        pause_s, answer = self._session.pause_s, self._session.answer

        def stay(active: float) -> tuple[float, float, float, float]:
            here, found = (self.kept(conversations, active, room) for room in (self._warm, self._warm + self._host))
            first, further = self._seen(max(1.0, active), found)
            first += (found - here) * self._reload_s
            return first + (answer - 1) * further, first, further, found

        most = active = min(conversations, float(self._slots))
        for _ in range(MOST_STEPS):
            stay_s, first, further, found = stay(active)
            next_active = min(most, conversations * stay_s / (stay_s + pause_s))
            if active - next_active < CLOSE * active:
                break
            active = next_active
        waiting_s = max(0.0, conversations * stay_s / active - stay_s - pause_s)  # for a place, where more come than there are
        return Turn(active=active, warm_share=found, first_token_s=first + (waiting_s if active == most else 0.0), per_token_s=further)

    def _seen(self, active: float, found: float) -> tuple[float, float]:
        """Seconds to the first and per further token with so many at once, of whom this share finds all but the new tokens computed."""
        prompt, flops = (found * new + (1 - found) * whole for new, whole in ((self._new, self._all), (self._flops_new, self._flops_all)))
        seen = self._pace.seen_of(Load(active, max(1.0, prompt), float(self._session.answer), 0, self._reads, flops))
        return seen.first_token_s, seen.per_token_s


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def sessions_for(row: StackRow, session: Session, limits: Limits, *, ask_again: AskAgain | None = None) -> SessionsAnswer:
    """Every way to divide the GPUs of a question, with the sessions that each keeps; the row's `users` are sessions at once.

    Raises PlannerError where the model does not answer token by token, its sessions are too long, no server starts, or its speed is not known.
    """
    main = row.services[0]
    row = replace(row, services=[replace(main, users=None)])
    request, source = request_of(row)
    if any(isinstance(cache, RecurrentState) for group in request.model.layers for cache in group.caches):
        raise PlannerError(f"how many states of its recurrent layers {source.served_name} keeps for a prefix was not measured", "a model with attention alone")
    about = f"{session.turns:,} turns, {session.longest:,} tokens at the end,"
    request = replace(request, context=request.context or context_of(request, source, session.longest, about))
    if (request.context or 0) < session.longest:
        raise PlannerError(f"{about} exceed the context of {request.context:,}", "a longer --context, or fewer --turns")
    ways = each_way(
        (request, source), sizes(request, row.count), lambda plan, replicas: _way(plan, replicas, session, limits, main.users), ask_again or again(row)
    )
    options = sorted(
        ways,
        key=lambda way: (
            not _keeps(way, main.users),
            -way.replicas * way.expected.sessions,
            -way.replicas * way.expected.warm,
            way.expected.first_token_warm_s,
        ),
    )
    best = options[0]
    met = _keeps(best, main.users) if main.users else best.expected.sessions > 0
    return SessionsAnswer(options=tuple(options), session=session, limits=limits, users=main.users, requirements_met=met)


def _keeps(way: Way, users: int | None) -> bool:
    """Whether so many sessions keep the limits with conservative figures."""
    return users is None or way.replicas * way.conservative.sessions >= users


def _way(plan: Plan, replicas: int, session: Session, limits: Limits, users: int | None) -> Way:
    known, choice = known_paces(plan), plan.choice
    near = basis_of(plan, known[1].work)
    outlooks = zip(known, (choice.conservative, choice.expected, choice.optimistic), HOST_LINK, strict=True)
    here = -(-users // replicas) if users else None
    conservative, expected, optimistic = (_kept(plan, pace, ledger, session, limits, here, link, is_first=pace is known[0]) for pace, ledger, link in outlooks)
    server = server_in_words(plan)
    if session.offload_bytes:
        server = replace(server, argv=(*server.argv, "--kv-offloading-size", f"{session.offload_gib:g}"))
    return Way(server=server, replicas=replicas, grade=near.grade, because=near.because, conservative=conservative, expected=expected, optimistic=optimistic)


def _kept(  # noqa: PLR0917 - one caller
    plan: Plan, pace: Pace, ledger: MemoryBreakdown, session: Session, limits: Limits, users: int | None, link: int, *, is_first: bool
) -> Kept:
    contexts = [tokens + session.answer for tokens, _ in session.asked()]
    shares = [1 / max(ledger.admitted_at(tokens), 1e-9) for tokens in contexts]  # of the cache that a conversation takes
    bytes_each = _mean(shares) * int(ledger.kv_cache_bytes)
    warm = 1 / _mean(shares)
    host = session.offload_bytes / (bytes_each * plan.config.tensor_parallel_size)
    turns = Turns(pace, session, slots=min(int(warm), plan.config.max_num_seqs), warm=warm, host=host, reload_s=bytes_each / link, at_random=not is_first)
    each = session.conversations

    def keeps(sessions: int) -> bool:
        turn = turns.turn(float(sessions * each))
        return turn.first_token_s <= limits.first_token_s and turn.per_token_s <= limits.per_token_s

    most = largest(MOST_SESSIONS, keeps)
    return Kept(
        warm=int(warm / each),
        warm_with_host=int((warm + host) / each),
        sessions=most,
        bound_by=_binds(turns, limits, most + 1, each, warm + host),
        first_token_warm_s=turns.alone(warm=True),
        first_token_cold_s=turns.alone(warm=False),
        at_users=turns.turn(float(users * each)) if users else None,
    )


def _binds(turns: Turns, limits: Limits, sessions: int, each: int, room: float) -> str:
    """What one session more breaks."""
    turn = turns.turn(float(sessions * each))
    if turn.first_token_s / limits.first_token_s >= turn.per_token_s / limits.per_token_s:
        return "KV cache: histories are computed anew" if sessions * each > room else "time to first token"
    return "time per token"
