"""GPUStack's own scheduling of a deployment on workers; run by GPUStack's Python. JSON lines {deployment, heads, gpus, total_bytes} in, for each the GPUs chosen and what was claimed.

Nothing is asked of the Hub: the model's configuration, of which this selector takes the heads, is given; weights are asked for only where nothing is claimed.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from gpustack.config.config import Config, set_global_config
from gpustack.policies.candidate_selectors import base_candidate_selector
from gpustack.policies.candidate_selectors.vllm_resource_fit_selector import VLLMResourceFitSelector
from gpustack.policies.resource_view import ResourceView
from gpustack.schemas.models import Model, ModelCreate
from gpustack.schemas.workers import GPUDeviceStatus, MemoryInfo, SystemReserved, Worker, WorkerStateEnum, WorkerStatus
from transformers import AutoConfig


def worker(gpus, total_bytes):
    cards = [
        GPUDeviceStatus(vendor="nvidia", type="cuda", index=index, name="card", memory=MemoryInfo(total=total_bytes, is_unified_memory=False))
        for index in range(gpus)
    ]
    status = WorkerStatus(memory=MemoryInfo(total=256 << 30), gpu_devices=cards)
    reserved = SystemReserved(ram=0, vram=0)
    return Worker(id=1, name="worker", labels={}, state=WorkerStateEnum.READY, status=status, system_reserved=reserved, cluster_id=1)


async def admitted(config, deployment, heads, gpus, total_bytes):
    async def given(*_, **__):
        return AutoConfig.for_model("qwen3", num_attention_heads=heads, num_key_value_heads=8, architectures=["Qwen3ForCausalLM"])

    base_candidate_selector.get_pretrained_config_with_workers = given
    model = Model(**ModelCreate(**deployment).model_dump())
    selector = VLLMResourceFitSelector(config, model, [], resource_view=ResourceView([]))
    candidates = await selector.select_candidates([worker(gpus, total_bytes)])
    return {"gpus": len(candidates[0].gpu_indexes) if candidates else 0, "claim_bytes": selector._vram_claim, "said": selector.get_messages()}


def main():
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(sys.stderr):
            config = Config(token="none", jwt_secret_key="none", data_dir=folder, cache_dir=str(Path(folder) / "cache"))
            set_global_config(config)
        for line in sys.stdin:
            with contextlib.redirect_stdout(sys.stderr):
                answer = asyncio.run(admitted(config, **json.loads(line)))
            print(json.dumps(answer), flush=True)


main()
