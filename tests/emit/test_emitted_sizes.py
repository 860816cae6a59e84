"""Numbers in emitted files, derived by hand: the volume of a cluster's downloads, the default length of an answer."""

import pytest
import yaml

from planner.emit import emit_formats
from planner.emit.litellm import model_info, sampling_values
from planner.facts.deployment import Deployment, Sampling, Service
from planner.units import GIB


def service(weights_gib: float = 7.0, *, recommended: int | None = None, context: int | None = None, name: str = "chat") -> Service:
    return Service(
        name=name,
        task="chat",
        engine="vllm",
        version="0.33.0",
        model="a/b",
        served_name="b",
        alias="b",
        argv=("vllm", "serve", "a/b"),
        host="127.0.0.1",
        port=8000,
        gpus=(0,) if name == "chat" else (1,),
        settings={"max_model_len": context} if context else {},
        weights_bytes=round(weights_gib * GIB),
        sampling=Sampling(max_tokens=recommended),
    )


@pytest.mark.parametrize(
    ("weights", "storage"),
    [
        ((7.0,), "14Gi"),
        ((7.0, 5.3), "25Gi"),  # 24.6
        ((1.0,), "10Gi"),  # the least
    ],
)
def test_a_clusters_volume_holds_the_weights_twice(weights, storage):
    """An update lies beside the old snapshot."""
    services = tuple(service(size, name=name) for size, name in zip(weights, ("chat", "second"), strict=False))
    deployment = Deployment(title="made", gpu="h100", gpu_title="H100", vendor="nvidia", count=2, services=services)
    manifests = yaml.safe_load_all(emit_formats(deployment, ("k8s",))["kubernetes.yaml"])
    (claim,) = (one for one in manifests if one["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == storage


@pytest.mark.parametrize(
    ("recommended", "context", "limit"),
    [
        (32_768, 40_960, 10_240),  # a quarter of the context: three are left to the prompt
        (32_768, 262_144, 32_768),
        (32_768, None, 32_768),
        (None, 40_960, None),
    ],
)
def test_an_answer_is_at_most_a_quarter_of_the_context_by_default(recommended, context, limit):
    asked = service(recommended=recommended, context=context)
    assert asked.default_max_tokens == limit
    assert sampling_values(asked).get("max_tokens") == limit


def test_agents_are_told_a_quarter_of_the_context_where_nobody_recommends_a_limit():
    assert model_info(service(context=40_960))["max_output_tokens"] == 10_240
    assert model_info(service(context=40_960, recommended=4096))["max_output_tokens"] == 4096


def test_containers_start_one_after_the_other():
    """vLLM refuses to start where its share is not free."""
    deployment = Deployment(title="made", gpu="h100", gpu_title="H100", vendor="nvidia", count=2, services=(service(name="second"), service(name="chat")))
    containers = yaml.safe_load(emit_formats(deployment, ("compose",))["compose.yaml"])["services"]
    assert "depends_on" not in containers["second"]
    assert containers["chat"]["depends_on"] == {"second": {"condition": "service_healthy"}}
    assert set(containers["litellm"]["depends_on"]) == {"second", "chat"}
