"""Models from the Hub, played by a server here that speaks its API: what is found, and what goes wrong."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import DATA, run_plan
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st
from test_tensors import SMALL as SMALL_CONFIG
from test_tensors import tensors as stored

from planner.catalogue.names import is_repo_id

CONFIG = (DATA / "configs" / "Qwen--Qwen3-8B.json").read_bytes()
SIZE, SMALL = len(CONFIG), json.dumps(SMALL_CONFIG).encode()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ASKED: list[str] = []


class Hub(BaseHTTPRequestHandler):
    """owner/NAME behaves as NAME says."""

    def log_message(self, *arguments):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        ASKED.append(self.path)
        name = next((part for part in self.path.split("?")[0].split("/") if part in BEHAVIOURS), "missing")
        BEHAVIOURS[name](self)


def info(name, files=("config.json",), size=SIZE):
    siblings = [{"rfilename": file, "size": size, "blobId": "b" * 40} for file in files]
    return json.dumps({"id": f"owner/{name}", "modelId": f"owner/{name}", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}).encode()


def found(hub, config=CONFIG, **keywords):
    if "/api/models/" in hub.path:
        return hub.send(200, info("found", **keywords), Content_Type="application/json")
    return hub.send(200, config, ETag='"' + "e" * 40 + '"', X_Repo_Commit=COMMIT)


def slow(hub):
    time.sleep(4)


def with_tensors(hub, entries):
    """A repository whose safetensors file has this header."""
    if "/api/models/" in hub.path:
        return hub.send(200, info("tensors", files=("config.json", "model.safetensors")), Content_Type="application/json")
    if "safetensors" not in hub.path:
        return hub.send(200, SMALL, ETag='"' + "d" * 40 + '"', X_Repo_Commit=COMMIT)
    text = json.dumps({name: {"data_offsets": [0, 0]} | entry for name, entry in entries.items()}).encode()
    body = len(text).to_bytes(8, "little") + text
    return hub.send(206, body, ETag='"' + "c" * 40 + '"', X_Repo_Commit=COMMIT, Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}")


BEHAVIOURS = {
    "strange": lambda hub: with_tensors(hub, {"x": {"dtype": "F2_ODD", "shape": [1 << 20], "data_offsets": [0, 0]}}),
    "agreeing": lambda hub: with_tensors(hub, stored()),
    "differing": lambda hub: with_tensors(hub, stored() | {"model.extra.weight": {"dtype": "BF16", "shape": [512, 1024]}}),
    "found": found,
    "gated": lambda hub: hub.send(403, b"{}", X_Error_Code="GatedRepo"),
    "missing": lambda hub: hub.send(404, b"{}", X_Error_Code="RepoNotFound"),
    "busy": lambda hub: hub.send(429, b"{}"),
    "broken": lambda hub: hub.send(500, b"{}"),
    "slow": slow,
    "nonsense": lambda hub: hub.send(200, b"<html>", Content_Type="text/html"),
    "truncated": lambda hub: found(hub, config=CONFIG[:100], size=100),
    "huge": lambda hub: found(hub, size=10**9),
    "bare": lambda hub: found(hub, files=("README.md",)),
    "loop": lambda hub: hub.send(302, Location=hub.path),
    "headers": lambda hub: hub.send(200, b"{}", X_Long="x" * 2_000_000),
    "stranger": lambda hub: found(hub, config=json.dumps({"architectures": ["Mystery"]}).encode(), size=32),
}


@pytest.fixture(scope="module")
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(name, hub, tmp_path, *more, **environment):
    home = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return run_plan("--gpu", "h100", "--model", name, "--dry-run", "--format", "json", *more, cwd=tmp_path, **(home | environment))


def test_a_model_of_the_hub_is_planned_and_then_known_offline(hub, tmp_path):
    done = ask("owner/found", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["model"]["id"], answer["memory"]["weights_bytes"]) == ("owner/found", 16_381_470_720)
    assert answer["commands"][0]["argv"][2] == "owner/found"
    again = ask("owner/found", "http://127.0.0.1:9", tmp_path)
    assert json.loads(again.stdout)["memory"] == answer["memory"]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("gated", 2, "is gated"),
        ("missing", 2, "has no model owner/missing"),
        ("bare", 2, "has no config.json"),
        ("truncated", 2, "not valid JSON"),
        ("huge", 2, "too large"),
        ("stranger", 2, "'Mystery' is not supported"),
        ("busy", 3, "slow down"),
        ("broken", 3, "status 500"),
        ("slow", 3, "does not answer in time"),
        ("nonsense", 3, "makes no sense"),
        ("loop", 3, "Hub"),
        ("headers", 3, "Hub"),
    ],
)
def test_what_goes_wrong_is_one_line(name, code, says, hub, tmp_path):
    started = time.monotonic()
    done = ask(f"owner/{name}", hub, tmp_path)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", ["../../etc/passwd", "owner/../x", "owner/x/y", "owner/..", "-x/y", "owner/x\\y"])
def test_a_name_that_is_a_path_is_never_asked_for(name, hub, tmp_path):
    done = ask(name, hub, tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


LONG = "x" * 97


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("owner/name.git", "owner/name"),
        ("https://huggingface.co/owner/name", "--model owner/name"),
        ("https://huggingface.co/owner/name/tree/main", "--model owner/name"),
        ("unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", "--model qwen3-30b-a3b --engine ollama or llama.cpp --quantization Q4_K_M"),
        ("https://hf.co/bartowski/Qwen_Qwen3-32B-GGUF", "--model qwen3-32b --engine ollama or llama.cpp; a command of ollama or llama.cpp that serves"),
        (
            "owner/unheard-of-GGUF:Q4_K_M",
            "owner/unheard-of-GGUF is a repository of GGUF files; a command of ollama or llama.cpp that serves these files is judged by plan check",
        ),
        ("unsloth/Qwen3-8B-GGUF:nonsense", "--model qwen3-8b --engine ollama or llama.cpp; a command of ollama or llama.cpp that serves these files"),
        ("a/b--c", "unknown model"),
        ("a/b.", "a/b"),
        ("a/b-", "unknown model"),
        ("a-/b", "unknown model"),
        (f"owner/{LONG}", "unknown model"),
        (f"{LONG}/name", "unknown model"),
        ("x" * 256, "is not a model name"),
        ("x" * 300 + ".gguf", "is not a model name"),
        ("é" * 200, "is not a model name"),
        ("a/" * 3000, "is not a model name"),
        ("a\x7fb", "is not a model name"),
        ("a\u202eb", "is not a model name"),
        ("a\udcffb", "is not a model name"),
    ],
)
def test_a_name_that_cannot_be_is_one_line(name, says, hub, tmp_path):
    asked = list(ASKED)
    for engine in ((), ("--engine", "llama.cpp"))[: 1 + (len(name) > 250)]:
        done = ask(name, hub, tmp_path, *engine)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert len(done.stderr) < 700
    assert asked == ASKED


REPO_TEXTS = st.text("abX19-._/é", min_size=1, max_size=12).map(lambda text: text.replace("é", "b" * 90))


@given(name=st.one_of(REPO_TEXTS, st.tuples(REPO_TEXTS, REPO_TEXTS).map("/".join), REPO_TEXTS.map(lambda text: f"a/{text}.git")))
def test_what_we_ask_for_the_hubs_own_client_takes(name):
    """Its check raises a ValueError of its own; no name that passes ours may reach it."""
    if is_repo_id(name):
        validate_repo_id(name)


@pytest.mark.parametrize("endpoint", ["http://me:hf_secret123@127.0.0.1:9", "http://127.0.0.1:9/?token=hf_secret123", "hf_secret123", "http://hf_secret123:x"])
@pytest.mark.slow
def test_no_error_repeats_a_token(endpoint, hub, tmp_path):
    """Neither that of the environment, nor one that somebody put into the Hub's address."""
    for name in ("owner/found", "owner/gated"):
        done = ask(name, endpoint, tmp_path, HF_TOKEN="hf_othersecret9")  # noqa: S106 - no token
        assert done.returncode in (2, 3), done.stderr
        assert "secret" not in done.stdout + done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "secret" not in ask("owner/broken", hub, tmp_path, HF_TOKEN="hf_othersecret9").stderr  # noqa: S106 - no token


@pytest.mark.parametrize(("name", "differs"), [("agreeing", False), ("differing", True)])
def test_tensors_of_the_hub_are_the_cross_check(name, differs, hub, tmp_path):
    answer = json.loads(ask(f"owner/{name}", hub, tmp_path, "--max-model-len", "2048").stdout)
    messages = [warning["message"] for warning in answer["warnings"] if warning["code"] == "tensors-differ"]
    assert bool(messages) == differs
    assert all("model.extra.weight" in message for message in messages)
    asked = list(ASKED)
    again = json.loads(ask(f"owner/{name}", hub, tmp_path, "--max-model-len", "2048").stdout)
    assert again["warnings"] == answer["warnings"]
    assert not any("safetensors" in path for path in ASKED[len(asked) :]), "the headers of a commit are asked for once"
    offline = json.loads(ask(f"owner/{name}", "http://127.0.0.1:9", tmp_path, "--max-model-len", "2048").stdout)
    assert offline["warnings"] == answer["warnings"]


def test_a_dtype_that_the_format_does_not_have_is_no_cross_check(hub, tmp_path):
    answer = json.loads(ask("owner/strange", hub, tmp_path, "--max-model-len", "2048").stdout)
    assert not [warning for warning in answer["warnings"] if warning["code"] == "tensors-differ"]


def test_a_cache_behind_a_link_is_read(hub, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert ask("owner/found", hub, tmp_path, HF_HOME=str(tmp_path / "link")).returncode == 0
    assert ask("owner/found", "http://127.0.0.1:9", tmp_path, HF_HOME=str(tmp_path / "link")).returncode == 0


def models(hub, tmp_path, *words, **environment):
    home = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_ETAG_TIMEOUT": "2", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return run_plan("models", *words, cwd=tmp_path, **(home | environment))


def planned(name, tmp_path, *more):
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "nothing"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return run_plan("--gpu", "h100", "--model", name, "--dry-run", "--format", "json", *more, cwd=tmp_path, **offline)


def test_an_added_model_is_planned_offline_as_it_was_online(hub, tmp_path):
    online = json.loads(ask("owner/differing", hub, tmp_path).stdout)
    done = models(hub, tmp_path, "add", "owner/differing")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "plan --gpu NAME --model differing"
    for name in ("differing", "owner/differing"):
        done = planned(name, tmp_path)
        assert done.returncode == 0, done.stderr
        offline = json.loads(done.stdout)
        assert offline["memory"] == online["memory"]
        assert offline["warnings"] == online["warnings"]
        assert offline["model"]["id"] == "owner/differing"
    assert "owner/differing" in models(hub, tmp_path, "list").stdout
    assert "owner/differing" in models(hub, tmp_path).stdout


def test_rows_of_the_file_stay_as_they_are(hub, tmp_path):
    assert models(hub, tmp_path, "add", "owner/found", "--file", "mine.yaml").returncode == 0
    mine = tmp_path / "mine.yaml"
    edited = "# mine\n" + mine.read_text().replace("title: owner/found", "title: Found  # as I call it").rstrip("\n")
    mine.write_text(edited)
    done = models(hub, tmp_path, "add", "owner/found", "--file", "mine.yaml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "owner/found is in mine.yaml already, as found" in done.stderr
    assert mine.read_text() == edited
    assert models(hub, tmp_path, "add", "owner/agreeing", "--file", "mine.yaml").returncode == 0
    assert mine.read_text().startswith(edited + "\n- name: agreeing\n")
    assert not (tmp_path / "config").exists()
    assert json.loads(planned("found", tmp_path, "--models", "mine.yaml").stdout)["memory"]["weights_bytes"] == 16_381_470_720


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("add", "owner/gated"), 2, "is gated"),
        (("add", "owner/missing"), 2, "no model owner/missing"),
        (("add", "owner/busy"), 3, "asks to slow down"),
        (("add", "owner/truncated"), 2, "not valid JSON"),
        (("add", "owner/stranger"), 2, "'Mystery'"),
        (("add", "owner/bare"), 2, "no config.json"),
        (("add", "https://huggingface.co/owner/found"), 2, "plan models add owner/found"),
        (("add", "found"), 2, "is not owner/name"),
        (("add",), 2, "plan models add OWNER/NAME"),
        (("list", "found"), 2, "takes no 'found'"),
    ],
)
def test_nothing_is_written_where_a_model_cannot_be_added(words, code, says, hub, tmp_path):
    done = models(hub, tmp_path, *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert says in done.stderr
    assert not list(tmp_path.rglob("*.yaml"))
    assert not (tmp_path / "config").exists()


def test_a_name_of_the_catalogue_is_not_taken(hub, tmp_path):
    BEHAVIOURS["qwen3-8b"] = found
    done = models(hub, tmp_path, "add", "me/qwen3-8b", "--file", "mine.yaml")
    assert "me/qwen3-8b is me-qwen3-8b in mine.yaml" in done.stdout, done.stderr


def test_a_file_with_a_fault_is_told_and_left(hub, tmp_path):
    (tmp_path / "mine.yaml").write_text("- name: x\n")
    done = models(hub, tmp_path, "add", "owner/found", "--file", "mine.yaml")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "mine.yaml:1" in done.stderr
    assert (tmp_path / "mine.yaml").read_text() == "- name: x\n"
