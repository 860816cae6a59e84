"""What the header of a GGUF file says: metadata and tensors."""

from __future__ import annotations

from planner.engines.llamacpp.ggml import tensor_bytes
from planner.facts.record import dataclass


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of the file: its name, its shape with the row length last, its type."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int = 0

    @property
    def bytes(self) -> int:
        """What it takes."""
        return tensor_bytes(self.type, self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A file's metadata and tensors."""

    metadata: dict[str, object]
    tensors: tuple[StoredTensor, ...]
    data_at: int = 0

    @property
    def file_bytes(self) -> int:
        """What the file must hold at least."""
        return max((self.data_at + tensor.offset + tensor.bytes for tensor in self.tensors), default=0)

    @property
    def architecture(self) -> str:
        """The name its own metadata keys begin with."""
        return str(self.metadata.get("general.architecture", ""))

    def integer(self, key: str, default: int = 0) -> int:
        """A number of the architecture's; of one by layer, the largest."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        return max(_numbers(value), default=default)

    def by_layer(self, key: str, layers: int) -> list[int]:
        """A number for each layer, whether the file has one for all or a list."""
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        return (_numbers(value) + [0] * layers)[:layers] if isinstance(value, list) else [self.integer(key)] * layers


def _numbers(value: object) -> list[int]:
    """The numbers of a value, without those that count nothing."""
    numbers = value if isinstance(value, list) else [value]
    return [int(number) for number in numbers if isinstance(number, int | float) and 0 <= number < MOST_NUMBER]


MOST_NUMBER = 1 << 48
