"""What a command asks for that a ledger does not hold, and which way it moves memory: with it the answer may be `unknown`, never a guess."""

from __future__ import annotations

from typing import Literal

from planner.facts.record import dataclass

Effect = Literal["adds", "lowers", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCovered:
    """A flag, what of it is not in the ledger, and whether that takes more memory than is shown, less, or may do either.

    `most_bytes`: by how much at most on one GPU, where something bounds it.
    """

    flag: str
    what: str
    effect: Effect
    most_bytes: int | None = None

    @property
    def message(self) -> str:
        """One sentence."""
        moves = {"adds": "the server takes more than is shown", "lowers": "the server takes less than is shown", "either": "the server may take more or less"}
        return f"{self.flag}: {self.what} {'is' if self.what.startswith(('a ', 'the ')) else 'are'} not in the ledger; {moves[self.effect]}"
