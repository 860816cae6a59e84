"""Make planner/engines/llamacpp/flags.json from llama.cpp's own source: `python -m benchmarks.llamacpp_flags PATH/common/arg.cpp BUILD`.

Each option is one `add_opt(common_arg(...))`; its handler's signature says what it takes, `set_examples` whether llama-server has it, and llama-cli.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

OUT = Path(__file__).parents[1] / "planner" / "engines" / "llamacpp" / "flags.json"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_TAKES = {"": 0, "bool": 0, "int": 1, "const std::string &": 1}


def _calls(source: str) -> Iterator[str]:
    """Each option's whole expression."""
    for start in (match.start() for match in re.finditer(r"\badd_opt\(", source)):
        depth, inside, at = 0, "", start
        while True:
            character = source[at]
            if inside:
                if character == "\\":
                    at += 1
                elif character == inside:
                    inside = ""
            elif character == '"' or (character == "'" and re.match(r"'(?:\\.|[^\\])'", source[at:])):
                inside = character
            elif character == "(":
                depth += 1
            elif character == ")":
                depth -= 1
                if not depth:
                    yield source[start : at + 1]
                    break
            at += 1


def _entry(call: str, program: str) -> tuple[list[str], dict[str, object]] | None:
    """An option's spellings, the first the one that it is known by, and what it takes; None where a program (SERVER, CLI) has it not."""
    rest = call.partition("{")[2]
    lists = re.match(rf"((?:\s*{_TEXT}\s*,?)+)\}}(?:\s*,\s*\{{((?:\s*{_TEXT}\s*,?)+)\}})?(?:\s*,\s*({_TEXT}))?", rest)
    handler = re.search(r"\[[^\]]*\]\s*\(common_params &\s*(?:params|/\*params\*/)?\s*((?:,[^)]*)?)\)", call)
    if lists is None or handler is None:
        return None
    examples = re.search(r"set_examples\(\s*(?:\{([^}]*)\}|(\w+))", call)
    named = (examples[1] or examples[2]) if examples else "LLAMA_EXAMPLE_COMMON"
    if not re.search(rf"LLAMA_EXAMPLE_(?:{program}|COMMON)\b|mmproj_examples", named) or re.search(rf"set_excludes\(\{{[^}}]*LLAMA_EXAMPLE_{program}", call):
        return None
    names, off = ([json.loads(word) for word in re.findall(_TEXT, text or "")] for text in (lists[1], lists[2]))
    kinds = [re.sub(r"\s*\w*\s*$", "", part.strip()).strip() for part in handler[1].split(",")[1:]] or [""]
    kinds = [kind if kind in _TAKES else "const std::string &" for kind in kinds]
    entry: dict[str, object] = {"takes": sum(_TAKES[kind] for kind in kinds)}
    if kinds == ["int"]:
        entry["reads"] = "int"
    elif "std::stof(value)" in call:
        entry["reads"] = "float"
    if off:
        entry["off"] = off
    if entry["takes"] == 1 and (hint := json.loads(lists[3]) if lists[3] else "") and (choices := re.fullmatch(r"[\[{<]([\w+-]+(?:[|,][\w+-]+)+)[\]}>]", hint)):
        entry["choices"] = re.split(r"[|,]", choices[1])
    if env := re.search(r'set_env\("(\w+)"\)', call):
        entry["env"] = env[1]
    if removed := re.search(r'arg_removed\("([^"]*)"\)', call):
        entry["removed"] = removed[1]
    return names[::-1], entry


def _table(source: str, program: str) -> dict[str, dict[str, object]]:
    """What a program takes, by flag."""
    flags: dict[str, dict[str, object]] = {}
    for call in _calls(source):
        if read := _entry(call, program):
            names, entry = read
            own = next((name for name in names if name.startswith("--")), names[0])
            others = [name for name in names if name != own]
            flags[own] = entry | ({"also": others} if others else {})
    return flags


def _lines(flags: dict[str, dict[str, object]]) -> str:
    return ",\n".join(f"  {json.dumps(flag)}: {json.dumps(entry)}" for flag, entry in sorted(flags.items()))


def main() -> None:
    """Write the table: the server's flags, those that only llama-cli has, and the server's that llama-cli has not."""
    source = Path(sys.argv[1]).read_text("utf-8")
    server, cli = _table(source, "SERVER"), _table(source, "CLI")
    own = {flag: entry for flag, entry in cli.items() if flag not in server}
    lacks = json.dumps(sorted(server.keys() - cli.keys()))
    head = json.dumps(f"llama.cpp {sys.argv[2]}, common/arg.cpp: the options of llama-server and of llama-cli")
    OUT.write_text(f'{{\n "source": {head},\n "flags": {{\n{_lines(server)}\n }},\n "cli": {{\n{_lines(own)}\n }},\n "server_only": {lacks}\n}}\n', "utf-8")


if __name__ == "__main__":
    main()
