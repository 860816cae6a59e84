"""bench.sh: load on the running stack with the plan's own users and context, and problems side by side with a log each."""

from __future__ import annotations

import re
import shlex

from planner.emit.lines import argument_lines, template
from planner.emit.litellm import timeout_s
from planner.engines import serving_of
from planner.engines.load import ROUNDS, lengths, usual_lengths
from planner.facts.deployment import Deployment, comment

_OWN = """\
  {engine})
    exec {command}
    ;;
"""


def bench_files(deployment: Deployment) -> dict[str, str]:
    """bench.sh."""
    service = deployment.main
    serving = serving_of(service.engine)
    own = tuple(serving.load_test(deployment))
    (longest, output), (prompt, answer) = lengths(service), usual_lengths(service)
    values = {
        "title": comment(deployment.title),
        "users": str(service.users),
        "requests": str(ROUNDS * service.users),
        "context": str(service.planned_context),
        "prompt": str(prompt),
        "answer": str(answer),
        "longest": str(longest),
        "output": str(output),
        "most": str(service.longest_answer),
        "timeout": str(timeout_s(service)),
        "task": service.task,
        "alias": shlex.quote(service.alias),
        "port": str(deployment.proxy_port),
        "path": f"${{here}}/{serving.environment}/bin:" if own else "",
        "own_usage": f"#   ./bench.sh {service.engine}        the engine's own tool, prompts that fill the context\n" if own else "",
        "own_word": f" | {service.engine}" if own else "",
        "own": _OWN.format(engine=service.engine, command=" \\\n      ".join(argument_lines(own))) if own else "",
    }
    values["client"] = template("load.py")
    return {"bench.sh": re.sub("@([a-z_]+)@", lambda found: values[found[1]], template("bench.sh"))}
