"""The webhook as an API server asks it, and kubectl's plugin as kubectl starts it."""

import json
import os
import re
import ssl
import subprocess
import sys
import textwrap

import httpx
import pytest
import yaml
from starlette.testclient import TestClient

from planner.cli.kubectl import objects, split, write
from planner.errors import PlannerError, WorldError
from planner.facts.finding import FailOn
from planner.remote import webhook
from planner.remote.admission import MOST_LETTERS, reviewed
from planner.remote.webhook import app
from tests.conftest import ROOT, spawn

OPENSSL = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1")
MANIFEST = ROOT / "deploy" / "webhook" / "webhook.yaml"


def deployment(context: int, product: str | None = "NVIDIA-A100-SXM4-40GB", model: str = "Qwen/Qwen3-32B-AWQ") -> dict:
    pod = {
        "containers": [
            {
                "name": "vllm",
                "image": "vllm/vllm-openai:v0.21.0",
                "args": ["--model", model, "--max-model-len", str(context)],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
            }
        ]
    }
    if product:
        pod["nodeSelector"] = {"nvidia.com/gpu.product": product}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "qwen"}, "spec": {"template": {"spec": pod}}}


def review(of: object, operation: str = "CREATE") -> dict:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u-1", "operation": operation, "object": of}}


def test_what_does_not_start_is_warned_of_and_denied_only_where_asked():
    warned = reviewed(review(deployment(400_000)), FailOn.NEVER)["response"]
    assert warned["uid"] == "u-1"
    assert warned["allowed"] is True
    assert warned["warnings"][0].startswith("plan: Qwen/Qwen3-32B-AWQ on 1x A100 SXM4 40GB")
    assert all(len(line) <= MOST_LETTERS for line in warned["warnings"])
    denied = reviewed(review(deployment(400_000)), FailOn.REFUSED)["response"]
    assert denied["allowed"] is False
    assert denied["status"]["code"] == 403
    assert "does not start" in denied["status"]["message"]


@pytest.mark.parametrize(
    "silent",
    [
        review(deployment(16_384)),
        review(deployment(400_000), "DELETE"),
        review(deployment(400_000, product=None)),
        review(None, "DELETE"),
        review({"kind": "Deployment"}),
        review({"kind": "Deployment", "apiVersion": "apps/v1", "spec": [[[1e400]]]}),
        review(deployment(16_384, model="/etc")),
    ],
)
def test_what_starts_or_cannot_be_read_passes_in_silence(silent):
    response = reviewed(silent, FailOn.REFUSED)["response"]
    assert response == {"uid": "u-1", "allowed": True}


@pytest.mark.parametrize("wrong", [[], {}, {"request": {"uid": 1}}, review(deployment(1)) | {"apiVersion": "admission.k8s.io/v1beta1"}])
def test_what_is_no_review_is_refused(wrong):
    with pytest.raises(PlannerError, match="is no AdmissionReview"):
        reviewed(wrong, FailOn.NEVER)


def test_over_http_as_the_api_server_asks():
    with TestClient(app(FailOn.REFUSED, None)) as client:
        answer = client.post("/validate?timeout=10s", json=review(deployment(400_000)))
        assert answer.json()["kind"] == "AdmissionReview"
        assert answer.json()["response"]["allowed"] is False
        assert client.post("/validate", json={}).status_code == 422
        half = json.dumps(review(deployment(400_000, model="a/\ud800")) | {"request": review(deployment(1))["request"] | {"uid": "\ud800"}})
        assert client.post("/validate", content=half, headers={"content-type": "application/json"}).json()["response"]["uid"] == "\ud800"
        assert client.post("/validate", content=b"{", headers={"content-type": "application/json"}).status_code == 400
        assert client.get("/healthz").status_code == 200
        assert client.get("/validate").status_code == 405


def test_a_fault_of_ours_is_told_without_its_trace(monkeypatch):
    monkeypatch.setattr(webhook, "reviewed", lambda *_: 1 / 0)
    with TestClient(app(FailOn.NEVER, None), raise_server_exceptions=False) as client:
        answer = client.post("/validate", json=review(deployment(8192)))
    assert answer.status_code == 500  # the API server goes on by its failurePolicy
    assert "a fault of plan itself: ZeroDivisionError" in answer.json()["error"]["message"]
    assert "Traceback" not in answer.text


def test_by_tls_as_the_manifest_starts_it(tmp_path):
    """With the manifest's own arguments, a certificate for its service's name, and the API server's path."""
    name = "serve-plan-webhook.serve-plan.svc"
    subprocess.run(
        [*OPENSSL, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt"],
        check=True,
        capture_output=True,
    )
    documents = {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    given = {"0.0.0.0": "127.0.0.1", "/tls/tls.crt": str(tmp_path / "tls.crt"), "/tls/tls.key": str(tmp_path / "tls.key")}
    process = spawn(*(given.get(word, word) for word in container["args"]), "--port", "0", cwd=tmp_path)
    try:
        address = re.search(r"https://127\.0\.0\.1:\d+", process.stderr.readline())[0]
        (webhook,) = documents["ValidatingWebhookConfiguration"]["webhooks"]
        assert documents["Certificate"]["spec"]["dnsNames"] == [name]
        with httpx.Client(verify=ssl.create_default_context(cafile=tmp_path / "tls.crt")) as client:
            answer = client.post(
                address + webhook["clientConfig"]["service"]["path"], json=review(deployment(400_000)), extensions={"sni_hostname": name}, timeout=60
            )
        assert answer.json()["response"]["warnings"]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_certificate_needs_its_key(tmp_path):
    (tmp_path / "tls.crt").write_text("")
    process = spawn("webhook", "--certificate", "tls.crt", cwd=tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--certificate and --key go together" in said


def kubectl(tmp_path, answer: object, *words: str, code: str = "from planner.cli.kubectl import main; main()"):
    """The plugin with a kubectl that answers so, and writes down what it was asked."""
    stand_in = tmp_path / "bin" / "kubectl"
    stand_in.parent.mkdir(exist_ok=True)
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    stand_in.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/answer.json\n')
    stand_in.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
    )


def test_kubectl_plan_judges_each_object_on_the_gpu_it_selects(tmp_path):
    listed = {"kind": "List", "items": [deployment(16_384), deployment(400_000, "NVIDIA-H100-80GB-HBM3")]}
    done = kubectl(tmp_path, listed, "deployments", "-n", "models")
    assert (tmp_path / "asked").read_text() == "get deployments -n models -o json\n"
    assert done.returncode == 1, done.stderr
    assert "deployment-qwen-1.yaml" in done.stdout
    assert kubectl(tmp_path, deployment(16_384), "deploy/qwen").returncode == 0
    told = kubectl(tmp_path, deployment(400_000, product=None), "deploy/qwen", "--gpu", "h100", "--format=json")
    assert json.loads(told.stdout)["verdict"] == "does_not_start"
    assert (tmp_path / "asked").read_text() == "get deploy/qwen -o json\n"


def test_what_kubectl_says_is_told(tmp_path):
    assert "no such object" in kubectl(tmp_path, {"items": []}, "deployments").stderr
    faulty = kubectl(tmp_path, {"items": []}, "deployments", code="import planner.cli.kubectl as door; door.objects = lambda _: 1 / 0; door.main()")
    assert (faulty.returncode, faulty.stderr.count("\n")) == (3, 1), faulty.stderr
    assert faulty.stderr.startswith("plan: a fault of plan itself: ZeroDivisionError")
    (tmp_path / "bin" / "kubectl").write_text("#!/bin/sh\necho 'Error from server (NotFound)' >&2; exit 1\n")
    code = textwrap.dedent("from planner.cli.kubectl import main; main()")
    failed = subprocess.run(
        [sys.executable, "-c", code, "deploy/no"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:/bin", "PYTHONPATH": str(ROOT)},
    )
    assert failed.returncode == 3
    assert "Error from server (NotFound)" in failed.stderr


@pytest.mark.parametrize("items", ["null", "5", '"abc"', "[" * 900 + "]" * 900, '[{"a": ' + "[" * 900 + "]" * 900 + "}]"])
def test_an_answer_of_no_objects_is_one_line(items, tmp_path, monkeypatch):
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\necho '{{\"items\": {items}}}'\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    try:
        found = write(list(objects(["pods"])), tmp_path)
    except WorldError as error:
        assert "nested too deeply" in error.message
    else:
        assert not found


def test_words_are_kubectls_or_plans():
    assert split(["deploy/x", "--gpu", "h100", "-n", "a", "--format=json"]) == (["deploy/x", "-n", "a"], ["--gpu", "h100", "--format=json"])
    assert split(["--gpu"]) == ([], ["--gpu"])
