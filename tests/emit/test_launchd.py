"""launchd agents of a Mac: property lists whose shells really run, with stand-ins for what they start."""

import os
import plistlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from planner.emit import emit_formats
from planner.errors import PlannerError
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for


@cache
def agents(engine: str | None = None, gpu: str = "m4-max-128gb") -> dict[str, dict]:
    services = [ServiceRow(model="qwen3-8b", context=8192), ServiceRow(model="qwen3-embedding-0.6b", context=2048)]
    texts = emit_formats(answer_for(StackRow(gpu=gpu, engine=engine, services=services)).deployment, ("launchd",))
    return {name: plistlib.loads(text.encode()) for name, text in texts.items()}


@pytest.mark.parametrize("engine", [None, "llama.cpp", "ollama"])
def test_each_process_is_an_agent_that_starts_at_login_and_again_where_it_dies(engine):
    names = ["litellm"] + (["chat"] if engine == "ollama" else ["embedding", "chat"])
    assert sorted(agents(engine)) == sorted(f"local.plan.{name}.plist" for name in names)
    for name, agent in agents(engine).items():
        assert f"{agent['Label']}.plist" == name
        assert (agent["RunAtLoad"], agent["KeepAlive"]) == (True, {"SuccessfulExit": False})
        shell, option, script = agent["ProgramArguments"]
        assert (shell, option) == ("/bin/sh", "-c")
        checked = subprocess.run(
            [Path(sys.executable).with_name("shellcheck"), "--shell=sh", "--severity=warning", "--exclude=SC1091", "--exclude=SC1090", "-"],
            input=script, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout


def test_the_proxy_starts_with_its_key_once_the_servers_answer(tmp_path):
    *_, script = agents()["local.plan.litellm.plist"]["ProgramArguments"]
    folder = tmp_path / script.partition('"$HOME/')[2].partition('"')[0]
    program = folder / ".venv-litellm" / "bin" / "litellm"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$LITELLM_MASTER_KEY" "$@"\n')
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "curl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    for stub in (program, tools / "curl"):
        stub.chmod(0o755)
    (tmp_path / ".config" / "plan").mkdir(parents=True)
    (tmp_path / ".config" / "plan" / "litellm.env").write_text("LITELLM_MASTER_KEY=sk-test\n")
    environment = {"HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-c", script], env=environment, check=True, timeout=20)
    assert (folder / "logs" / "litellm.log").read_text().startswith("sk-test --config litellm.yaml --host 127.0.0.1")
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2
    assert all("--noproxy *" in words for words in asked)


@pytest.mark.parametrize(("form", "gpu", "nearest"), [("systemd", "m4-max-128gb", "--to launchd"), ("launchd", "rtx4090", "--to systemd")])
def test_what_starts_services_on_another_system_is_named(form, gpu, nearest):
    deployment = answer_for(StackRow(gpu=gpu, services=[ServiceRow(model="qwen3-8b", context=8192)])).deployment
    with pytest.raises(PlannerError) as caught:
        emit_formats(deployment, (form,))
    assert nearest in caught.value.hint


@pytest.mark.parametrize("engine", ["llama.cpp", "ollama", "mlx"])
def test_a_container_on_a_mac_has_no_gpu(engine):
    deployment = answer_for(StackRow(gpu="m4-max-128gb", engine=engine, services=[ServiceRow(model="qwen3-8b", context=8192)])).deployment
    with pytest.raises(PlannerError):
        emit_formats(deployment, ("compose",))
