"""A setting of vLLM's is one row and its fields: a copy of the program gets one more, and every command knows it."""

import json

import pytest
from checkout import Checkout, files

ROW = """SETTINGS = (
    Setting(
        name="stream_interval",
        flag="--stream-interval",
        kind=Kind.COUNT,
        default=1,
        least=1,
        most=100,
        help="Tokens of an answer that are sent together.",
        place=10,
        short="every",
    ),
"""
FIELDS = (  # file, what stands before the field, the field
    ("planner/engines/vllm/settings.py", r"class ServeConfig:\n    .*\n\n", "    stream_interval: int = 1\n"),
    ("planner/engines/vllm/settings.py", r"class Pins:\n    .*\n\n", "    stream_interval: int | None = None\n"),
    ("planner/facts/question.py", r"    quantization: str \| None = None\n    .*\n", "    stream_interval: int | None = None\n"),
    ("planner/questions/asked.py", r"class Pins\(CapacityPins, total=False\):\n    .*\n\n", "    stream_interval: int | None\n"),
    ("planner/report/contract_parts.py", r"class SettingsJson\(TypedDict, total=False\):\n    .*\n\n", "    stream_interval: int\n"),
)
ASKED = ("--gpu", "rtx4090", "--model", "qwen3-8b", "--context", "8k", "--dry-run")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A checkout with the new row."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.replace("planner/engines/vllm/settings_table.py", r"SETTINGS = \(\n", ROW)
    for name, before, field in FIELDS:
        checkout.behind(name, before, field)
    assert checkout.edited == files("A setting")
    return checkout


def test_it_is_an_option_an_answer_and_a_flag_of_the_command(copy):
    answer = json.loads(copy.plan(*ASKED, "--format", "json", "--stream-interval", "8"))
    assert answer["settings"]["stream_interval"] == 8
    argv = answer["commands"][0]["argv"]
    assert argv[argv.index("--stream-interval") + 1] == "8"
    assert "--stream-interval" not in json.loads(copy.plan(*ASKED, "--format", "json"))["commands"][0]["argv"]  # vLLM's default goes without saying
    assert "100" in copy.plan(*ASKED, "--stream-interval", "101")
    assert "Tokens of an answer that are sent together." in copy.plan("--help-all")


def test_it_is_a_key_of_stack_files_and_of_servers_beside(copy):
    (copy.folder / "stack.yaml").write_text("gpu: rtx4090\nservices: [{model: qwen3-8b, context: 8k, stream_interval: 4}]\n")
    assert json.loads(copy.plan("-f", "stack.yaml", "--format", "json"))["settings"]["stream_interval"] == 4
    assert "stream_interval is '0': expected a whole number from 1 to 100" in copy.plan(*ASKED, "--with", "qwen3-embedding-0.6b:stream_interval=0")


def test_it_is_a_keyword_of_programs(copy):
    words = "import planner; print(planner.plan(gpu='rtx4090', model='qwen3-8b', context='8k', stream_interval=8).to_dict()['settings']['stream_interval'])"
    assert copy.run("-c", words).stdout == "8\n"


def test_it_is_read_in_commands_and_logs(copy):
    command = "vllm serve Qwen/Qwen3-8B --max-model-len 8192 --stream-interval"
    assert json.loads(copy.plan("check", "--gpu", "rtx4090", "--format", "json", f"{command} 16"))["settings"]["stream_interval"] == 16
    assert "--stream-interval is '0': expected a number above 0" in copy.plan("check", "--gpu", "rtx4090", f"{command} 0")
    log = "non-default args: {'model_tag': 'Qwen/Qwen3-8B', 'max_model_len': 8192, 'stream_interval': 16}"
    words = "from planner.engines.vllm.log import command_words, read_log; print(command_words(read_log([LOG])))".replace("LOG", repr(log))
    assert "'--stream-interval', '16'" in copy.run("-c", words).stdout


def test_it_is_refused_where_another_engine_is_asked(copy):
    assert "--stream-interval is vLLM's; Ollama has no such setting" in copy.plan(*ASKED, "--engine", "ollama", "--stream-interval", "8")
