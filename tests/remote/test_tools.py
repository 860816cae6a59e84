"""What programs may ask: the arguments are those of the functions, the answers those of the command line."""

import json
from functools import cache

import jsonschema
import pytest

import planner
from planner.errors import PlannerError
from planner.reader import only_texts
from planner.remote.tools import TOOLS
from tests.conftest import run_plan


@cache
def example_of(name):
    """A tool's answer to its own example: the doors' tests ask too."""
    return TOOLS[name].answer(TOOLS[name].example)


@pytest.mark.parametrize("name", TOOLS)
def test_an_example_is_answered_as_its_schema_says(name):
    tool, answered = TOOLS[name], example_of(name)
    jsonschema.validate(tool.example, tool.input_schema, cls=jsonschema.Draft202012Validator)
    jsonschema.validate(json.loads(json.dumps(answered.json)), tool.output_schema, cls=jsonschema.Draft202012Validator)
    assert answered.text
    assert len(answered.text) < 4000  # an agent reads it


def test_an_answer_is_the_command_lines(tmp_path):
    answered = TOOLS["plan"].answer({"gpu": "rtx4090", "model": "qwen3-8b", "users": 4})
    done = run_plan("--gpu", "rtx4090", "--model", "qwen3-8b", "--users", "4", "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(json.dumps(answered.json)) == json.loads(done.stdout)
    assert answered.json == planner.plan(gpu="rtx4090", model="qwen3-8b", users=4).to_dict()


def test_every_argument_is_taken_but_files():
    assert not {"gpus", "models", "prices", "trace"} & {name for tool in TOOLS.values() for name in tool.arguments.model_fields}
    plan = TOOLS["plan"].arguments.model_fields
    assert {"model", "gpu", "beside", "tensor_parallel_size", "gpu_layers", "free_gib"} <= set(plan)
    assert TOOLS["choose_models"].input_schema["required"] == ["gpu"]
    assert TOOLS["choose_machines"].input_schema["required"] == ["model"]


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("plan", {"model": "qwen3-8b"}, "gpu: Field required"),
        ("plan", {"model": "qwen3-8b", "gpu": "rtx4090", "gqu": 1}, "gqu: Extra inputs are not permitted"),
        ("plan", {"model": "qwen3-8b", "gpu": "rtx4090", "count": "two"}, "count: Input should be a valid integer"),
        ("plan", {"model": "qwen3-8b", "gpu": "rtx4090", "count": 10**400}, "count is '1000"),
        ("plan", {"model": "qwen3-8b", "gpu": "rtx4090", "gpus": "/etc/passwd"}, "gpus: Extra inputs"),
        ("plan", {"model": "qwen3-8b", "gpu": "rtx4900"}, "GPU 'rtx4900' is not in the catalogue"),
        ("capacity", {"model": "qwen3-8b", "gpu": "rtx4090", "ttft": float("nan")}, "ttft"),
        ("choose_models", {"gpu": "rtx4090", "model": "qwen3-8b"}, "model: Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(name, arguments, says):
    with pytest.raises(PlannerError) as refused:
        TOOLS[name].answer(arguments)
    assert says in refused.value.message
    assert len(refused.value.message) < 400


def test_who_asks_from_elsewhere_reads_no_file(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "secret": "found"}')
    (tmp_path / "config.yaml").write_text("model: found")
    for name, arguments in (
        ("plan", {"model": str(tmp_path), "gpu": "rtx4090"}),
        ("check", {"command": f"vllm serve {tmp_path}", "gpu": "rtx4090"}),
        ("check", {"command": f"vllm serve --config {tmp_path}/config.yaml", "gpu": "rtx4090"}),
    ):
        with only_texts(), pytest.raises(PlannerError, match="is not read"):
            TOOLS[name].answer(arguments)
