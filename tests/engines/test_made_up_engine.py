"""An engine is a package and one line: a made-up one is registered, and every door and every file serves it without knowing it."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from starlette.testclient import TestClient
from test_schemas import closed

from planner.cli.main import cli
from planner.engines import ENGINES, Engine
from planner.errors import PlannerError
from planner.report.schemas import json_schema
from planner.web.app import app
from tests import made_up_engine
from tests.made_up_engine import TOY

ASKED = ("--gpu", "rtx4090", "--model", "qwen3-8b", "--engine", "toy")


@pytest.fixture(autouse=True)
def registered():
    engine: Engine = TOY
    ENGINES["toy"] = engine
    yield
    del ENGINES["toy"]


def plan(*arguments, status=0, text=None):
    done = CliRunner().invoke(cli, arguments, input=text, catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.stdout


def test_its_package_is_small():
    assert len(Path(made_up_engine.__file__).read_text().splitlines()) < 160


def test_the_command_line_answers():
    text = plan(*ASKED, "--dry-run")
    assert "toyserve" in text
    assert "speed" in text
    assert "nobody measured a toy" in text
    assert plan(*ASKED, "--dry-run", "--context", "40k", "--users", "20", status=1)


def test_its_json_is_that_of_every_engine():
    answer = json.loads(plan(*ASKED, "--format", "json", "--dry-run"))
    jsonschema.validate(answer, closed(json_schema("plan")), cls=jsonschema.Draft202012Validator)
    assert answer["engine"] == {"name": "toyserve", "version": "1.0", "attention_backend": ""}
    assert answer["verdict"] == "starts"
    memory = answer["memory"]
    assert [line["key"] for line in memory["lines"]] == ["weights", "kv_cache"]
    assert memory["total_bytes"] == sum(line["bytes"] for line in memory["lines"])
    assert answer["commands"][0]["argv"][0] == "toyserve"


def test_help_names_it():
    assert "toy" in plan("--help")


def test_what_is_no_engine_is_refused_by_all_names():
    done = CliRunner().invoke(cli, (*ASKED[:-1], "tay"))
    assert done.exit_code == 2
    assert "'toy'" in done.output


def test_another_engines_setting_is_refused_by_its_title():
    with pytest.raises(PlannerError, match="Toy has no such setting"):
        CliRunner().invoke(cli, (*ASKED, "--gpu-layers", "3"), catch_exceptions=False)


def test_runtimes_are_compared_with_it():
    rows = json.loads(plan("compare", "--gpu", "rtx4090", "--model", "qwen3-8b", "--format", "json"))
    assert "toy (toyserve)" in {row["engine"] for row in rows["runtimes"]}


def test_the_page_and_the_report_show_it():
    asked = {"gpu": "rtx4090", "model": "qwen3-8b", "engine": "toy"}
    with TestClient(app(), base_url="http://127.0.0.1:8321") as client:
        page, report, answer = (client.get(path, params=asked) for path in ("/", "/plan.html", "/plan.json"))
    assert '<option value="toy" selected>' in page.text
    for shown in (page, report):
        assert "toyserve Qwen/Qwen3-8B" in shown.text
    assert answer.json()["engine"]["name"] == "toyserve"


def test_every_file_serves_it(tmp_path):
    plan(
        *ASKED,
        "--with",
        "qwen3-embedding-0.6b:context=2k",
        "--context",
        "8k",
        "--to",
        "compose,systemd",
        "--html",
        str(tmp_path / "plan.html"),
        "--output",
        str(tmp_path),
    )
    read = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert "toyserve" in read["plan.html"]
    assert "  exec toyserve Qwen/Qwen3-8B" in read["stack.sh"]
    assert "install .venv-toy toyserve==1.0" in read["setup.sh"]
    assert {entry["litellm_params"]["model"] for entry in yaml.safe_load(read["litellm.yaml"])["model_list"]} == {
        "hosted_toy/qwen3-8b", "hosted_toy/qwen3-embedding-0.6b",
    }  # fmt: skip
    container = yaml.safe_load(read["compose.yaml"])["services"]["chat"]
    assert container["image"] == "toy/serve:1.0"
    assert container["command"][0] == "Qwen/Qwen3-8B"
    assert ".venv-toy/bin/toyserve" in read["plan-chat.service"]
    assert not any(name.startswith(("serve.sh", "Modelfile")) for name in read)
    again = tmp_path / "again"
    plan("emit", str(tmp_path), "--output", str(again))
    plan("emit", str(tmp_path), "--to", "compose", "--output", str(again))
    assert {path.name for path in again.iterdir()} >= {"stack.sh", "setup.sh", "litellm.yaml", "compose.yaml"}
    assert {path.name: path.read_text() for path in again.iterdir() if not path.name.startswith(".")}.items() <= read.items()
    with pytest.raises(PlannerError, match=r"chat is toyserve|embedding is toyserve"):
        plan("emit", str(tmp_path), "--to", "helm")


def test_a_plan_of_an_engine_that_is_gone_is_refused(tmp_path):
    plan(*ASKED, "--output", str(tmp_path))
    del ENGINES["toy"]
    try:
        with pytest.raises(PlannerError, match=r"services\.0\.engine"):
            plan("emit", str(tmp_path))
    finally:
        ENGINES["toy"] = TOY


def test_its_commands_are_checked():
    good = json.loads(plan("check", "toyserve qwen3-8b --context 8192", "--gpu", "rtx4090", "--format", "json"))
    assert (good["verdict"], good["settings"]["context"]) == ("starts", 8192)
    bad = json.loads(plan("check", "toyserve qwen3-8b --contxt 8192", "--gpu", "rtx4090", "--format", "json", status=1))
    assert [problem["code"] for problem in bad["problems"]] == ["unknown-flag"]
    assert "short" in plan("check", "toyserve qwen3-32b", "--gpu", "rtx4090", status=1)


def test_its_logs_are_explained():
    log = "toyserve: loading\ntoyserve: no room for the cache\n"
    seen = json.loads(plan("explain", "-", "--model", "qwen3-32b", "--gpu", "rtx4090", "--format", "json", text=log, status=1))
    assert (seen["engine"]["name"], seen["root_cause"]["code"]) == ("toy", "out-of-memory")
    assert seen["predicted"]["verdict"] == "does_not_start"
