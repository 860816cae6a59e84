"""A plan.json may be a stranger's: whatever stands in it is refused, or comes out of every format as the text that it is."""

import copy
import dataclasses
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run_plan
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.emit import FORMATS, emit, emit_formats
from planner.errors import PlannerError
from planner.facts.deployment import Deployment, Sampling, Service
from planner.facts.question import ServiceRow, StackRow
from planner.questions.plan import answer_for
from planner.questions.plan_file import faults, read_deployment

CANARY = "INJ"
EMBEDDING = "qwen3-embedding-0.6b"
ROWS = {
    "shared": StackRow(gpu="rtx4090", count=2, services=[ServiceRow(model="ministral-3-14b-awq"), ServiceRow(model=EMBEDDING, tensor_parallel_size=1)]),
    "nodes": StackRow(gpu="h100", count=8, nodes=2, services=[ServiceRow(model="deepseek-v3")]),
    "ollama": StackRow(gpu="rtx4090", engine="ollama", services=[ServiceRow(model="qwen3-vl-30b-a3b"), ServiceRow(model=EMBEDDING)]),
    "llama": StackRow(gpu="rtx3090", count=2, engine="llama.cpp", services=[ServiceRow(model="llama-3.3-70b", users=2)]),
    "mlx": StackRow(gpu="m4-max-128gb", engine="mlx", services=[ServiceRow(model="qwen3-8b")]),
}
# Texts that are code somewhere: in a shell, YAML, a unit, Python, a Modelfile, a template.
HOSTILE = (
    f"X; touch {CANARY}; Y", f"x\ntouch {CANARY}", f"$(touch {CANARY})", f"`touch {CANARY}`", f"'; touch {CANARY}; '", f'"; touch {CANARY}; "', f"a && touch {CANARY}",
    f"x\rtouch {CANARY}", f"x\u2028touch {CANARY}", f"x\u0085touch {CANARY}", "x\x00y", "\x1b[2J", "\u202etxt", "x\n  callbacks: evil.module", ": {a: b} #", "- x", "!!python/object:os.system x",
    "--trust-remote-code", "-x", "", " ", "%h/%n", "${HOME}", "$(HOME)", "{title}", "{", "../../x", "/etc/passwd", "~", "*", "a:b", "x" * 5000, "\ud800", "NaN", "é ü 模型",
    "PATH", "LD_PRELOAD", "BASH_ENV", "1", "\\", "\\n", "\"\"\"", "'''", "FROM x",
)  # fmt: skip
NUMBERS = (-1, 0, 1, 3, 1 << 63, 10**400, -(10**30), float("nan"), float("inf"), 0.5, True, None, [], {}, "7")


@cache
def plan(name: str) -> str:
    """The deployment of a real plan.json."""
    return json.dumps(dataclasses.asdict(answer_for(ROWS[name]).deployment))


def places(value, path=()):
    """Where every leaf and every key lies."""
    if isinstance(value, dict):
        yield from ((*path, key) for key in value)
        yield from (found for key, each in value.items() for found in places(each, (*path, key)))
    elif isinstance(value, list):
        yield from ((*path, index) for index in range(len(value)))
        yield from (found for index, each in enumerate(value) for found in places(each, (*path, index)))


def mutated(name: str, place, new, *, key: bool):
    data = json.loads(plan(name))
    at = data
    for step in place[:-1]:
        at = at[step]
    if key and isinstance(at, dict):
        at[new] = at.pop(place[-1])
    else:
        at[place[-1]] = new
    return data


def read(data, folder: Path):
    """The deployment of such a file, or None where it is refused in one line."""
    path = folder / "plan.json"
    path.write_text(json.dumps({"deployment": data}))
    try:
        return read_deployment(path)
    except PlannerError as error:
        assert error.exit_code == 2
        assert len(error.message.splitlines()) == 1
        assert error.message.isprintable()
        return None


def texts(deployment) -> dict[str, str]:
    """Every file of every format that can hold a deployment."""
    found = {}
    try:
        found |= emit(deployment)
    except PlannerError as error:
        assert "\n" not in error.message
    for form in FORMATS:
        try:
            found |= {f"{form}-{name}": text for name, text in emit_formats(deployment, [form]).items()}
        except PlannerError as error:
            assert "\n" not in error.message
    return found


def prove_harmless(deployment, folder: Path) -> None:
    """Scripts parse, and run with stand-ins for every program they leave no canary; YAML loads and has the keys that it has."""
    files = texts(deployment)
    for name, text in files.items():
        assert Path(name).name == name
        assert "\x1b" not in text
        assert "\x00" not in text
        if name.endswith((".yaml", ".yml")):
            for document in yaml.safe_load_all(text):
                assert isinstance(document, dict)
        if name.endswith("litellm.yaml"):
            settings = yaml.safe_load(text)
            assert set(settings) == {"model_list", "litellm_settings", "router_settings", "general_settings"}
            assert settings["litellm_settings"].get("callbacks") in (None, "custom_callbacks.proxy_handler_instance")
        if name.endswith(".py"):
            compile(text, name, "exec")
        (folder / name).write_text(text)
    shells = [name for name in files if name.endswith((".sh", ".env"))]
    for service in (name for name in files if name.endswith(".service")):
        assert files[service].count("\nExecStart=") == 1
    script = ["set -u", *(f"bash -n {name} || exit 7" for name in shells)]
    script += [f"(source ./{name}) >/dev/null 2>&1 || true" for name in shells if name.endswith(".env")]
    if "stack.sh" in files:  # all but its last line, which reads the arguments: its head and functions, then each of them
        head = files["stack.sh"].partition("\nfail() {")[0]
        (folder / "head.sh").write_text(head + '\nfor name in "${names[@]}"; do (run_"${name//-/_}"); done\n')
        script.append("bash head.sh >/dev/null 2>&1 || true")
    if "serve.sh" in files:
        script.append("(bash serve.sh) >/dev/null 2>&1 || true")
    script += [f"bash {name} </dev/null >/dev/null 2>&1 || true" for name in ("setup.sh", "bench.sh", "try.sh") if name in files]
    done = subprocess.run(["/bin/bash", "-c", "\n".join(script)], cwd=folder, env=stubs(folder), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(folder.rglob(CANARY)), [name for name in files if CANARY in files[name]]


def stubs(folder: Path) -> dict[str, str]:
    """An environment in which every program that a script may call does nothing."""
    tools = folder / "tools"
    tools.mkdir()
    for name in (
        "vllm",
        "litellm",
        "ollama",
        "llama-server",
        "mlx_lm.server",
        "mlx_vlm.server",
        "uv",
        "curl",
        "guidellm",
        "sleep",
        "nvcc",
        "ninja",
        "python3",
        "ray",
    ):
        (tools / name).write_text("#!/bin/sh\nexit 0\n")
        (tools / name).chmod(0o755)
    for name in ("bash", "touch", "cut", "cat", "dirname", "rm", "mkdir", "head", "tail", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    return {"PATH": str(tools), "LITELLM_MASTER_KEY": "sk-x", "HOME": str(folder)}


@pytest.mark.parametrize("name", list(ROWS))
def test_what_plan_writes_is_read_and_harmless(name, tmp_path):
    deployment = read(json.loads(plan(name)), tmp_path)
    assert deployment == answer_for(ROWS[name]).deployment
    prove_harmless(deployment, tmp_path)


@pytest.mark.parametrize("path", sorted((ROOT / "outputs").glob("*/plan.json")), ids=lambda path: path.parent.name)
def test_every_plan_of_the_repository_is_read(path):
    assert read_deployment(path).services


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "ollama"])
def test_every_text_of_a_plan_as_code_is_refused_or_quoted(name, tmp_path):
    """Every place of the file with every text; of those that are let through, one of each text and some of the places are emitted and run."""
    let_through = {}
    for place in places(json.loads(plan(name))):
        is_key = place[-2:-1] in (("env",), ("settings",))
        for text in HOSTILE:
            if (found := read(mutated(name, place, text, key=False), tmp_path)) or (is_key and (found := read(mutated(name, place, text, key=True), tmp_path))):
                assert CANARY not in "".join(service.alias + service.name + "".join(service.env) for service in found.services)
                let_through[text] = found
    assert {f"$(touch {CANARY})", f"'; touch {CANARY}; '"} <= set(let_through)
    for number, found in enumerate(list(let_through.values())[::6]):
        (folder := tmp_path / str(number)).mkdir()
        prove_harmless(found, folder)


@settings(max_examples=15)
@given(data=st.data())
def test_a_plan_with_anything_anywhere_is_refused_or_harmless(data, tmp_path_factory):
    name = data.draw(st.sampled_from(list(ROWS)))
    new = data.draw(
        st.one_of(
            st.sampled_from(HOSTILE), st.sampled_from(NUMBERS), st.text(max_size=12).map(lambda text: text + f"\n$(touch {CANARY})"), st.text(max_size=20)
        )
    )
    place = data.draw(st.sampled_from(list(places(json.loads(plan(name))))))
    folder = tmp_path_factory.mktemp("mutated")
    if deployment := read(mutated(name, place, new, key=isinstance(new, str) and data.draw(st.booleans())), folder):
        prove_harmless(deployment, folder)
    shutil.rmtree(folder)


@settings(max_examples=15)
@given(data=st.data())
def test_a_plan_with_something_missing_is_refused_or_harmless(data, tmp_path_factory):
    name = data.draw(st.sampled_from(list(ROWS)))
    whole = json.loads(plan(name))
    place = data.draw(st.sampled_from(list(places(whole))))
    at = whole
    for step in place[:-1]:
        at = at[step]
    del at[place[-1]]
    folder = tmp_path_factory.mktemp("missing")
    if deployment := read(whole, folder):
        prove_harmless(deployment, folder)
    shutil.rmtree(folder)


def test_every_text_and_number_of_a_field_has_its_check():
    """A field that is added gets its type's check; none lets through a second line."""
    deployment = answer_for(ROWS["shared"]).deployment
    for row, put in ((Deployment, lambda change: dataclasses.replace(deployment, **change)), (Service, lambda change: service(deployment, change)), (Sampling, lambda change: service(deployment, {"sampling": Sampling(**change)}))):  # fmt: skip
        for each in dataclasses.fields(row):
            kind = str(each.type)
            bad = (
                "x\ny"
                if kind.startswith(("str", "Engine", "Literal"))
                else ("x\ny",)
                if kind == "tuple[str, ...]"
                else 10**400
                if "int" in kind.split("[", maxsplit=1)[0]
                else None
            )
            if bad is not None and not kind.startswith(("Literal", "Engine")):  # those are pydantic's
                assert list(faults(put({each.name: bad}))), each.name


def service(deployment, change):
    return dataclasses.replace(deployment, services=(*deployment.services[:-1], dataclasses.replace(deployment.main, **change)))


@pytest.mark.parametrize(
    "change",
    [
        {"env": {f"X; touch {CANARY}; Y": "1"}},
        {"env": {"LD_PRELOAD": "./x.so"}},
        {"env": {"BASH_ENV": "./x"}},
        {"env": {"PATH": "."}},
        {"sampling": {"temperature": 0.7, "source": f"x\ntouch {CANARY}"}},
        {"sampling": {"temperature": float("inf"), "source": "x"}},
        {"argv": ["sh", "-c", f"touch {CANARY}"]},
        {"argv": ["vllm", "serve", "other/model", "--port", "8000"]},
        {"argv": ["vllm", "serve", "Qwen/Qwen3-8B", "--host"]},
        {"argv": ["vllm", "serve", "Qwen/Qwen3-8B", "stray"]},
        {"alias": "a b"},
        {"health": f"/health'; touch {CANARY} '"},
        {"settings": {}},
        {"settings": {"max_model_len": "x"}},
        {"settings": {"max_model_len": 10**400}},
        {"name": "litellm"},
        {"port": 8080},
    ],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(change, tmp_path):
    data = copy.deepcopy(json.loads(json.dumps(dataclasses.asdict(answer_for(StackRow(gpu="rtx4090", services=[ServiceRow(model="qwen3-8b")])).deployment))))
    data["services"][0] |= change
    (tmp_path / "plan.json").write_text(json.dumps({"deployment": data}))
    with pytest.raises(PlannerError, match=r"is no plan\.json of this version: services"):
        read_deployment(tmp_path)
    if "env" in change or "argv" in change:  # the others raise the same
        done = run_plan("emit", "plan.json", "--to", "compose,systemd,k8s", "--output", "new", cwd=tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("name", ["co:lon", "dol$lar", "dash-", "--trust-remote-code", "-x", "$(touch INJ)", "a b", "%h", "ü:ü"])
@pytest.mark.slow
def test_a_folder_of_any_name_is_mounted_as_it_is(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text((ROOT / "tests" / "data" / "configs" / "meta-llama--Llama-3.1-8B-Instruct.json").read_text())
    for model in (str(folder) if " " in name or "$" in name else f"./{name}", *([f"--model={name}"] if name.startswith("-x") else [])):
        asked = [model] if model.startswith("--model=") else ["--model", model]
        done = run_plan("--gpu", "h100", *asked, "--to", "compose", "--output", "out", "--force", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        chat = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]["chat"]
        (mount,) = [volume for volume in chat["volumes"] if isinstance(volume, dict)]
        served = chat["command"][0].replace("$$", "$")
        assert not served.startswith("-")
        assert mount["target"].replace("$$", "$") == os.path.normpath(Path(chat["working_dir"], served))
        assert Path(tmp_path, mount["source"].replace("$$", "$")).samefile(folder)
        assert run_plan("emit", "out", "--to", "systemd", cwd=tmp_path).returncode == 0
