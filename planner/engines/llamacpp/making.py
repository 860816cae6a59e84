"""What setup.sh does where nobody publishes a GGUF file: it is made of the checkpoint, by llama.cpp's converter and quantizer of one build."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from planner.facts.deployment import Service

# convert_hf_to_gguf.py and llama-quantize (tools/quantize) of llama.cpp b10488; `install` is setup.sh's own.
_MAKE = """\
# make_gguf FILE REPOSITORY MIX PROJECTOR: a GGUF file of a checkpoint, and its vision projector where it has one
make_gguf() {{
  local file=$1 repository=$2 mix=$3 projector=$4 source=$2 sources=llama.cpp-{build}
  [[ -f ${{file}} && (-z ${{projector}} || -f ${{projector}}) ]] && return
  command -v llama-quantize >/dev/null || {{
    echo "llama-quantize is missing; it comes with llama.cpp: https://github.com/ggml-org/llama.cpp/releases (or: brew install llama.cpp)" >&2
    exit 1
  }}
  if [[ ! -d ${{sources}} ]]; then
    curl --location --fail --output "${{sources}}.tar.gz" https://github.com/ggml-org/llama.cpp/archive/refs/tags/{build}.tar.gz
    tar -xzf "${{sources}}.tar.gz"
  fi
  install .venv-gguf --requirement "${{sources}}/requirements/requirements-convert_hf_to_gguf.txt" huggingface_hub
  if [[ ! -d ${{repository}} ]]; then
    source=checkpoints/${{repository}}
    .venv-gguf/bin/hf download "${{repository}}" --local-dir "${{source}}"
  fi
  if [[ ! -f ${{file}} ]]; then
    .venv-gguf/bin/python "${{sources}}/convert_hf_to_gguf.py" "${{source}}" --outtype auto --outfile "${{file}}.16bit"
    llama-quantize "${{file}}.16bit" "${{file}}.part" "${{mix}}"
    mv "${{file}}.part" "${{file}}"
    rm "${{file}}.16bit"
  fi
  if [[ -n ${{projector}} && ! -f ${{projector}} ]]; then
    .venv-gguf/bin/python "${{sources}}/convert_hf_to_gguf.py" "${{source}}" --mmproj --outtype f16 --outfile "${{projector}}"
  fi
}}"""


def made_files(services: Iterable[Service], build: str) -> list[str]:
    """Lines of setup.sh that make the files of these servers; nothing where all are published or lie there already."""
    calls = [shlex.join(("make_gguf", service.model, made_from, str(service.settings.get("made_mix")), projector(service)))
             for service in services if (made_from := str(service.settings.get("made_from") or ""))]  # fmt: skip
    return [_MAKE.format(build=build), *dict.fromkeys(calls)] if calls else []


def projector_name(file: str) -> str:
    """The file of the vision projector beside that of a model."""
    return f"mmproj-{file.removesuffix('.gguf')}-F16.gguf"


def projector(service: Service) -> str:
    """The vision projector that lies beside a server's file; empty where it has none."""
    return str(service.settings.get("projector") or "")
