"""Validates deployment files by the real schemas; run by the deploy environment's Python. JSON lines {kind, text} in, a list of problems out."""

import contextlib
import json
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
from ray.serve.schema import ServeDeploySchema

SCHEMAS = {}


def by_schema(document, path):
    if path not in SCHEMAS:
        with Path(path).open() as file:
            SCHEMAS[path] = Draft202012Validator(json.load(file))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in SCHEMAS[path].iter_errors(document)]


def kubernetes(document, lws):
    if document["kind"] == "LeaderWorkerSet":
        found = by_schema(document, lws)
        for template in ("leaderTemplate", "workerTemplate"):  # the CRD's pods are Kubernetes' own
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": document["spec"]["leaderWorkerTemplate"][template]["spec"]}
            found += kubernetes(pod, lws)
        return found
    try:
        kubernetes_validate.validate(document, "1.37.0", strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{document['kind']}: {error.message[:200]}"]
    return []


def ray(document):
    found = []
    try:
        ServeDeploySchema(**document)
        for application in document["applications"]:
            for config in application["args"]["llm_configs"]:
                LLMConfig(**config)
    except ValueError as error:
        found.append(str(error)[:300])
    return found


def problems(kind, text, schema):
    documents = list(yaml.safe_load_all(text))
    match kind:
        case "kubernetes":
            return [problem for document in documents for problem in kubernetes(document, schema)]
        case "schema":
            return by_schema(documents[0], schema)
        case "ray":
            return ray(documents[0])


for line in sys.stdin:
    asked = json.loads(line)
    with contextlib.redirect_stdout(sys.stderr):
        result = problems(**asked)
    print(json.dumps(result), flush=True)
