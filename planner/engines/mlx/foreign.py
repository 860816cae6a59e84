"""Checkpoints that another engine's quantizer wrote, as the loaders of mlx-lm and mlx-vlm take them.

Sources: mlx-lm 0.32.2 utils.py (load_model, _transform_awq_weights: since 0.30.5), mlx-vlm 0.7.10 utils.py (load_model).
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.engines.mlx.memory import PLAIN, MlxFormat
from planner.facts.modules import Role
from planner.facts.not_covered import NotCovered
from planner.facts.record import dataclass
from planner.text import shown

_READ = {"mlx-lm": ("bitnet", "mxfp4", "mxfp8", "fp8", "compressed-tensors", "modelopt"), "mlx-vlm": ("compressed-tensors", "mxfp4", "fp8", "modelopt")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """How a server holds such a checkpoint, what of that is not known, and why it does not load it; empty where it does."""

    form: MlxFormat
    missing: tuple[NotCovered, ...] = ()
    refusal: str = ""


def read_foreign(said: Mapping[str, object], engine: str) -> Foreign:
    """What a `quantization_config` is for mlx-lm or mlx-vlm."""
    method = str(said.get("quant_method") or "").lower()
    bits, group = said.get("bits", said.get("w_bit", 4)), said.get("group_size", said.get("q_group_size", 128))
    name = f"{shown(method.upper(), 40)} weights" if method else "weights of a quantization without a name"
    if method == "awq" and engine == "mlx-lm":
        if bits != 4 or group not in (32, 64, 128):
            return Foreign(
                form=PLAIN, refusal=f"mlx-lm reads AWQ of 4 bits in groups of 32, 64 or 128, this has {shown(str(bits))} in groups of {shown(str(group))}"
            )
        form = MlxFormat(
            name="4bit AWQ", bits=4, group=int(float(str(group))), apart=((Role.ROUTER, PLAIN), (Role.HEAD, PLAIN)), embedding=PLAIN, is_foreign=True
        )
        kept = said.get("modules_to_not_convert")
        others = [str(each) for each in kept if str(each) not in _BESIDE] if isinstance(kept, list) else []
        missing = NotCovered(flag="config.json", what=f"modules that stay in 16 bits ({shown(', '.join(others), 60)})", effect="adds")
        return Foreign(form=form, missing=(missing,) if others else ())
    if method == "gptq" and engine == "mlx-lm":
        return Foreign(form=PLAIN, refusal="mlx-lm does not load GPTQ weights with g_idx, which their converters write")
    if method in _READ[engine]:
        return Foreign(form=PLAIN, missing=(NotCovered(flag="config.json", what=f"{name} as {engine} reads them", effect="either"),))
    return Foreign(form=PLAIN, refusal=f"{engine} does not load {name}")


_BESIDE = ("lm_head", "gate", "mlp.gate", "router", "mlp.shared_expert_gate")
"""What AWQ leaves in 16 bits that the format holds so already."""
