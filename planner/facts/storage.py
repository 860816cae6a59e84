"""How a weight is stored: the tensors it is made of, the arithmetic it is multiplied in, what its kernels make of a shard.

A quantization format is one `Storage`; nothing downstream asks for its name.
"""

from __future__ import annotations

from enum import StrEnum

from planner.facts.record import dataclass


class Arithmetic(StrEnum):
    """In what a GPU multiplies, by the name that gpus.yaml gives its peak."""

    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"
    FP4 = "fp4"


class Kernels(StrEnum):
    """Whose kernels run a bank of experts, as far as they change the size of a shard."""

    PLAIN = "plain"  # 16 or 32 bits: ungated experts are padded on some GPUs
    MXFP4 = "mxfp4"  # both dimensions of every expert are padded
    MXFP4_MARLIN = "mxfp4 by marlin"  # to Marlin's tiles at least
    AS_STORED = "as stored"


class Cut(StrEnum):
    """Whether a shard may cut the blocks that share a scale, as the reader of the format checks it."""

    ANYWHERE = "anywhere"
    EXPERTS = "experts"  # and fused layers, as far as the release and the GPU allow it: FP8's own format
    NOWHERE = "nowhere"


class Encoding(StrEnum):
    """Who reads a quantized matrix: what kernels make of it once it is loaded depends on that."""

    OTHER = "other"
    FP8 = "fp8"
    INT8 = "int8"
    AWQ = "awq"
    GPTQ = "gptq"
    PACKED = "packed"  # compressed-tensors' integers
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"  # gpt-oss's experts


@dataclass(frozen=True, slots=True)
class Plane:
    """One tensor of a stored weight: a value of `bits` for every block of rows x columns of the matrix.

    `row_block` 0: one value for each fused part (q, k, v are three); -1: one for all rows.
    `column_block` 0: one value for all columns. The multiples are what its own rows and columns are padded to.
    """

    bits: int
    row_block: int = 1
    column_block: int = 1
    extra_bytes: int = 0
    rows_multiple: int = 1
    columns_multiple: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How a matrix is stored: its planes, and what a shard must be a multiple of.

    `arithmetic` is that of the checkpoint's scheme, both sides of the product quantized; a GPU without it, or of a compute
    capability below `arithmetic_since`, widens the weights to 16 bits.
    """

    name: str
    planes: tuple[Plane, ...]
    input_multiple: int = 1
    output_multiple: int = 1
    arithmetic: Arithmetic = Arithmetic.BF16
    arithmetic_since: int = 0
    kernels: Kernels = Kernels.AS_STORED
    cut: Cut = Cut.ANYWHERE
    encoding: Encoding = Encoding.OTHER
    symmetric: bool = False  # its zero points all say the same, so that a layout which can do without keeps none

    @property
    def block(self) -> Plane | None:
        """The plane of values for blocks of several rows, where there is one."""
        return next((plane for plane in self.planes if plane.row_block > 1), None)

    @property
    def bits(self) -> int:
        """Bits of one weight, its scales aside."""
        return self.planes[0].bits

    @property
    def is_quantized(self) -> bool:
        """Whether a weight is more than a number of 16 or 32 bits."""
        return self.bits < 16


BF16 = Storage(name="16-bit", planes=(Plane(16),), kernels=Kernels.PLAIN)
FP32 = Storage(name="32-bit", planes=(Plane(32),), kernels=Kernels.PLAIN)
ROUTER = Storage(name="router", planes=(Plane(16),), kernels=Kernels.PLAIN)  # 32 bits where the GPU lacks vLLM's 16-bit router kernel
