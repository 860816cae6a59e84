"""Findings as SARIF 2.1.0 (OASIS), which code scanning of GitHub and GitLab and editors read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import PurePath
from urllib.parse import quote

from planner.facts.finding import Finding, JudgedFiles
from planner.version import VERSION

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES = {
    "free-memory": "The share of memory that the server asks for is not free.",
    "no-kv-memory": "Nothing is left for the KV cache.",
    "kv-cache-too-small": "The KV cache holds less than one request of full length.",
    "out-of-memory": "The weights do not fit.",
    "not-divisible": "The model cannot be divided over so many GPUs.",
    "unsupported": "The engine does not run this model or setting on this GPU.",
    "unknown-flag": "The engine's release has no such flag.",
    "bad-value": "The engine refuses the value.",
    "tight": "The server is expected to start, but may fail.",
    "unlikely": "The server starts only if overheads are at their lowest.",
    "not-covered": "A part of memory is not known, so that nothing can be said.",
    "wrong-machine": "A comment or .plan.yaml names no machine that is known.",
    "which-gpu": "Nothing says which GPU the server is for.",
    "no-answer": "Nothing can be said of the server.",
    "unreadable": "The file cannot be read.",
}
_MOST_RESULTS = 5000  # of a run: GitHub shows no more


def sarif(judged: JudgedFiles) -> str:
    """The log of one run."""
    findings = judged.findings[:_MOST_RESULTS]
    rules = list(dict.fromkeys(finding.rule for finding in findings))
    run = {
        "tool": {"driver": {"name": "plan", "semanticVersion": VERSION, "rules": [_rule(rule) for rule in rules]}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules.index(finding.rule)) for finding in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(rule: str) -> dict[str, object]:
    text = _RULES.get(rule, f"{rule.replace('-', ' ').capitalize()}.")
    return {"id": rule, "name": "".join(part.capitalize() for part in rule.split("-")), "shortDescription": {"text": text}}


def _result(finding: Finding, rule: int) -> dict[str, object]:
    text = finding.message + (f"\nFix: {finding.fix}" if finding.fix else "")
    location: dict[str, object] = {
        "artifactLocation": {
            "uri": quote(os.fsencode(PurePath(finding.file).as_posix()) or "-"),
            **({} if PurePath(finding.file).is_absolute() else {"uriBaseId": "%SRCROOT%"}),
        },
        "region": {"startLine": finding.place.line, "startColumn": finding.place.column},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": str(finding.severity),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        # the line may move, and the figures with a release of ours: the same server with the same fault stays the same alert
        "partialFingerprints": {"serverAndRule/v1": _print(finding)},
    }


def _print(finding: Finding) -> str:
    subject = finding.message.partition(" with ")[0]
    return hashlib.sha256("\0".join((finding.file, finding.rule, subject)).encode(errors="surrogateescape")).hexdigest()[:32]
