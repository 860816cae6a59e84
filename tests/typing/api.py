"""A user's file: `mypy --strict` reads it (tests/test_api.py), nobody runs it."""

from typing import assert_type

import planner

answer = planner.plan(model="qwen3-vl-32b-awq", gpu="rtx4090", count=2, context="128k", tensor_parallel_size=2, kv_cache_dtype="fp8")
assert_type(answer, planner.PlanAnswer)
assert_type(answer.requirements_met, bool)
if answer.verdict == "starts":
    print(answer.main.service.argv, answer.main.longest_context)
for line in answer.main.lines:
    print(line.key, line.bytes)
said = answer.to_dict()
assert_type(said["memory"]["total_bytes"], int)
assert_type(said["commands"][0]["argv"], list[str])

planner.plan(model="qwen3-8b", gpu="rtx4090", engine="llama.cpp", parallel="auto", n_cpu_moe=4, ram="64GiB", flash_attn="on")
checked = planner.check("vllm serve Qwen/Qwen3-8B", gpu="rtx4090", free_gib=20.5)
assert_type(checked, planner.CheckAnswer)
print([(problem.code, problem.fix) for problem in checked.problems], checked.to_dict()["verdict"])

explained = planner.explain("…", gpu="rtx4090")
assert_type(explained, planner.ExplainAnswer)
print(explained.to_dict()["root_cause"])

held = planner.capacity(model="qwen3-8b", gpu="rtx4090", ttft="1s", tpot=0.05)
assert_type(held, planner.CapacityAnswer)
assert_type(held.options[0].expected.users, int)

replayed = planner.replay(trace="load.jsonl", model="qwen3-8b", gpu="rtx4090", count=2)
assert_type(replayed, planner.ReplayAnswer)
print(replayed.options[0].expected.ttft_s, replayed.to_dict()["requirements_met"])

kept = planner.sessions(turns=20, model="qwen3-8b", gpu="rtx4090", pause="8s", subagents=2)
assert_type(kept, planner.SessionsAnswer)
assert_type(kept.options[0].expected.warm, int)

assert_type(planner.choose(gpu="rtx4090", purpose="agent"), planner.ModelsAnswer)
assert_type(planner.choose(model="qwen3-8b"), planner.MachinesAnswer)

planner.plan(model="qwen3-8b", gpu="rtx4090", tensor_parallel_sise=2)  # type: ignore[call-arg]
planner.plan(model="qwen3-8b", gpu="rtx4090", count="2")  # type: ignore[arg-type]

try:
    planner.plan(model="qwen3-8b", gpu="rtx4900")
except planner.PlannerError as error:
    print(error.message, error.hint)
