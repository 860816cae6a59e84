"""Every flag and variable is in the ledger, moves nothing, is part of another, or is named; none is dropped in silence."""

import json

import pytest
from judges import judge_venv

from planner.catalogue.resolve import find_source
from planner.engines.vllm.command import READ
from planner.engines.vllm.flags import flag_table
from planner.engines.vllm.not_covered import ALIASES, FLAGS, NESTED, PARTLY, harmless, not_covered
from planner.engines.vllm.not_covered_environment import ENVIRONMENT, IN_THE_LEDGER
from planner.engines.vllm.not_covered_models import ONLY
from planner.engines.vllm.settings import ServeConfig


def every_flag() -> set[str]:
    """The flags of every release, of objects whose keys count the keys too."""
    table = flag_table()
    keys = {f"{flag}.{key}" for flag in NESTED for key in table["flags"][flag]["fields"]}
    gone = {flag for flag in table["last_known_in"] if not flag.startswith("--no-")}
    return {*table["flags"], *gone, *keys} - set(NESTED) - set(ALIASES)


def classes() -> dict[str, list[str]]:
    data = harmless()
    return {
        "in the ledger": sorted(READ - set(NESTED)),
        "harmless": [flag for flags in data["flags"].values() for flag in flags],
        "part of another": [flag for flags in data["parts"].values() for flag in flags],
        "not covered": list(FLAGS),
    }


def test_every_flag_is_in_exactly_one_class():
    for flag in every_flag():
        held = [name for name, flags in classes().items() for other in flags if other == flag]
        assert len(held) == 1, f"{flag} is {held or 'in no class'}: planner/engines/vllm/harmless.json, not_covered.py or settings_table.py"


def test_no_class_holds_a_flag_that_no_release_has():
    gone = {"--compilation-config.level", "--compilation-config.use_cudagraph", "--compilation-config.full_cuda_graph", "--compilation-config.use_inductor"}
    gone |= {"--compilation-config.compile_ranges_split_points", "--compilation-config.cache_dir"}
    spelled = {flag for flags in classes().values() for flag in flags}
    assert spelled - every_flag() - set(NESTED) <= gone


def test_a_part_belongs_to_a_flag_that_is_named_or_in_the_ledger():
    assert set(harmless()["parts"]) <= set(FLAGS) | READ


def test_what_is_conditional_is_named_somewhere():
    assert set(ONLY) <= set(FLAGS) | set(PARTLY) | set(ENVIRONMENT)
    assert set(PARTLY) <= READ


def test_no_variable_is_in_two_classes():
    names = [name for group in harmless()["environment"].values() for name in group] + [*ENVIRONMENT, *IN_THE_LEDGER]
    assert len(names) == len(set(names))


@pytest.mark.judge
def test_every_variable_of_vllm_is_in_a_class():
    (source,) = (judge_venv("vllm") / "lib").glob("python3*/site-packages/vllm/envs.py")
    declared = source.read_text().partition("if TYPE_CHECKING:")[2].partition("\ndef ")[0]
    known = {word.partition(":")[0] for word in declared.split() if word.startswith("VLLM_") and ":" in word}
    names = {name for group in harmless()["environment"].values() for name in group} | set(ENVIRONMENT) | set(IN_THE_LEDGER)
    assert known - names == set()


def named(values: dict, env: dict | None = None, model: str = "qwen3-8b") -> list[str]:
    return [part.flag for part in not_covered(values, find_source(model).spec, ServeConfig(), env=env)]


def test_a_flag_that_nobody_knows_is_named():
    assert named({"--made-up": "3"}) == ["--made-up"]


def test_what_moves_nothing_is_not():
    values = {flag: "x" for group in harmless()["flags"].values() for flag in group}
    values |= {flag: json.dumps({"x": 1}) for flag in NESTED}
    assert named({flag: value for flag, value in values.items() if "." not in flag and flag not in NESTED}) == []


def test_keys_of_an_object_count_for_themselves():
    assert named({"--compilation-config": '{"pass_config": {"x": true}, "cudagraph_mode": "PIECEWISE"}'}) == []
    assert named({"--compilation-config": '{"new_key": 1}'}) == ["--compilation-config.new_key"]
    assert named({"--kernel-config": '{"moe_backend": "marlin"}'}, model="gpt-oss-20b") == ["--moe-backend"]
    assert named({"--kernel-config": '{"moe_backend": "triton"}'}, model="qwen3-30b-a3b") == []


def test_memory_that_a_pool_gives_back_counts_twice_in_releases_of_a_sleeping_server():
    def found(model: str, version: str) -> list[str]:
        spec, config = find_source(model).spec, ServeConfig(vllm_version=version, enable_sleep_mode=True)
        return [part.flag for part in not_covered({"--enable-sleep-mode": True}, spec, config)]

    packed = "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4"
    assert found(packed, "0.19") == found(packed, "0.26") == ["--enable-sleep-mode"]
    assert found(packed, "0.14") == found(packed, "0.27") == []
    assert found("Qwen/Qwen3-8B", "0.19") == found("Qwen/Qwen3-8B-FP8", "0.26") == []  # nothing is rewritten; an L40S took what it should


def test_a_variable_that_moves_memory_is_named_and_its_usual_value_is_not():
    assert named({}, {"VLLM_MLA_DISABLE": "1", "VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_OF_SOMEBODY": "1"}, "deepseek-r1") == ["VLLM_MLA_DISABLE=1"]
    assert named({}, {"VLLM_MXFP4_USE_MARLIN": "1"}, "gpt-oss-20b") == []  # no release since 0.24 reads it
    assert named({}, {"VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS": "1"}) == []
