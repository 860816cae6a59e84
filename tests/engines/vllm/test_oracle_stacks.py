"""vLLM 0.33 itself about commands of several servers and machines, and about the load test."""

import json
import subprocess

import pytest
from conftest import ROOT
from test_deploy import GRID, deployment
from test_oracle import ask, judge_python

from planner.catalogue.load import find_gpu
from planner.catalogue.resolve import find_source
from planner.emit.multinode import MASTER_PORT
from planner.engines.vllm.serving import bench_argv

pytestmark = pytest.mark.judge
VLLM = [name for name, row in GRID.items() if row.engine is None and row.gpu != "mi300x"]


@pytest.mark.parametrize("name", VLLM)
def test_every_servers_command_is_valid_on_its_gpus(name):
    row, found = GRID[name], deployment(name)
    by_name = {service.served_name: service for service in found.services}
    for asked in row.services:
        source = find_source(asked.model)
        service = by_name[source.served_name]
        argv = list(service.argv)
        if found.nodes > 1:
            argv += ["--distributed-executor-backend", "mp", "--nnodes", str(found.nodes), "--node-rank", "0"]
            argv += ["--master-addr", "127.0.0.1", "--master-port", str(MASTER_PORT)]
        question = {"config": dict(source.config), "hf_quant": dict(source.hf_quant) if source.hf_quant else None, "argv": argv}
        (answer,) = ask(find_gpu(row.gpu), len(service.gpus), [question])
        assert answer["valid"], answer
        assert answer["max_model_len"] == service.settings["max_model_len"]


def test_the_load_test_is_one_that_vllm_takes():
    commands = [list(bench_argv(deployment(name))) for name in VLLM]
    wrong = [*commands[0], "--no-such-flag"]
    done = subprocess.run(
        [judge_python(), ROOT / "tests" / "oracle" / "parse_bench.py"],
        input="".join(json.dumps(command) + "\n" for command in [*commands, wrong]),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('"')]
    assert len(answers) == len(commands) + 1, done.stderr[-2000:]
    assert answers[:-1] == [""] * len(commands)
    assert "no-such-flag" in answers[-1]
