"""Keys, tokens and passwords of commands, scripts and logs are never repeated (planner/text.py)."""

import pytest

from planner.engines.vllm.flags import parse_flags
from planner.engines.vllm.versions import DEFAULT_VERSION
from planner.errors import PlannerError
from planner.questions.explain import explain_log
from planner.questions.find_commands import find_commands
from planner.report.explained import explain_json
from planner.text import redact, redact_words

SECRETS = [
    "vllm serve a/b --api-key SECRET --port 1",
    "vllm serve a/b --api-key=SECRET",
    "vllm serve a/b --api_key 'SECRET'",
    "vllm serve a/b --api-k SECRET",
    "vllm serve a/b --hf-token SECRET",
    "HF_TOKEN=SECRET vllm serve a/b",
    'export HUGGING_FACE_HUB_TOKEN="SECRET"; vllm serve a/b',
    "docker run -e OPENAI_API_KEY=SECRET vllm/vllm-openai --model a/b",
    "AWS_SECRET_ACCESS_KEY=SECRET DB_PASSWORD=SECRET vllm serve a/b",
    """vllm serve a/b --kv-transfer-config '{"kv_connector_extra_config": {"api_key": "SECRET"}}'""",
    "vllm serve a/b --nothing hf_abcSECRETdef",
    "curl -H 'Authorization: Bearer SECRETSECRET'",
]
SAID = [  # in scripts around a command, in messages of logs
    "curl -H 'Authorization: Basic SECRETSECRET==' -H 'X-Api-Key: SECRET' -H 'Cookie: session=SECRET'",
    "DB_PASS=SECRET PGPASSWORD=SECRET MYSQL_PWD=SECRET NPM_AUTH=SECRET vllm serve a/b",
    "SENTRY_DSN=https://SECRET@sentry.io/1 AZURE_STORAGE_CONNECTION_STRING='AccountKey=SECRET;x' vllm serve a/b",
    "git clone https://SECRET@github.com/a/b && vllm serve a/b",
    "401 Client Error for url: https://h/x?a=1&token=SECRET&X-Amz-Signature=SECRET",
    "hf auth login --token SECRET; vllm serve a/b --auth-token=SECRET",
    "vllm serve a/b --nothing eyJhbGciOiJIUzI1NiJ9.eyJSECRET.SECRET",
    "-----BEGIN RSA PRIVATE KEY-----\nSECRET",
    "OSError: token SECRETsecret123 is invalid; HF_TOKEN: SECRET",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_blanked_and_the_rest_is_kept(text):
    assert "SECRET" not in redact(text).replace("AWS_SECRET_ACCESS_KEY", "")
    assert (
        "SECRET" not in " ".join(redact_words(text.replace("'", "").replace('"', "").split())).replace("AWS_SECRET_ACCESS_KEY", "")
        or "{" in text
        or "Bearer" in text
    )


@pytest.mark.parametrize("text", SAID)
def test_secrets_around_a_command_and_in_messages_are_blanked(text):
    assert "SECRET" not in redact(text)


def test_settings_of_a_log_are_told_without_their_keys():
    log = "INFO 01-01 00:00:00 [api_server.py:1] vLLM API server version 0.11.0\nnon-default args: {'model': 'qwen3-8b', 'hf_token': 'SECRET', 'ssl_keyfile_password': 'SECRET', 'kv_transfer_config': {'x': [{'api_key': 'SECRET'}]}}"
    settings = explain_json(explain_log(iter(log.splitlines(keepends=True)), gpu=None, model=None, count=None)[0], None)["observed"]["settings"]
    assert settings == {"hf_token": "***", "ssl_keyfile_password": "***", "kv_transfer_config": {"x": [{"api_key": "***"}]}}


def test_a_second_key_is_no_word_to_repeat():
    _, _, (fault,) = parse_flags(["qwen3-8b", "--api-key=a", "SECRET", "--port", "1"], DEFAULT_VERSION)
    assert fault.message == "unrecognized arguments: '***'; vLLM takes one model"


def test_a_line_is_not_repeated_because_its_quoting_is_broken():
    with pytest.raises(PlannerError, match=r"^the quoting is broken: ' behind --api-key is not closed$"):
        find_commands("sshpass -p SECRET ssh h vllm serve a/b --api-key 'SECRET")


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve a/b --max-num-batched-tokens 8192 --tokenizer x --tokens-only --served-model-name key",
        "--ssl-keyfile /k.pem --port 1",
        "PWD=/a bypass=1 git@h: ssh://git@h/x?a=b monkeys: 3 KeyError: 'x'",
    ],
)
def test_what_is_no_secret_is_kept(text):
    assert redact(text) == text
    assert redact_words(text.split()) == text.split()
