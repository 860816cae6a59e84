"""The commands of a checkout of the recipes: public/OWNER/NAME/hw/GPU.json, as `node scripts/build-recipes-api.mjs` renders them there (@8959cf6)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from planner.errors import FileError, PlannerError
from planner.facts.record import dataclass
from planner.reader import parse_json, read_bytes

RENDER = "node scripts/build-recipes-api.mjs"
MAX_BYTES, MOST_COMMANDS = 4 * 1024 * 1024, 50_000
_GPUS = {"dgx_spark_gb10": "gb10", "dgx_station_gb300": "gb300"}  # profiles that are named after a machine


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeCommand:
    """One command as the site shows it, and the machine it is for; `argv` is empty where it is for several machines."""

    recipe: str
    hardware: str
    strategy: str
    variant: str
    gpu: str
    count: int
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """What is typed; a flag with its value in one string stands there as two words."""
        words = [word if word.startswith("--") and re.fullmatch(r"--[\w.-]+ [^'\"\s]+", word) else shlex.quote(word) for word in self.argv]
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.env), *words])


def read_recipes(folder: Path) -> list[RecipeCommand]:
    """The commands that are recommended for each machine. Raises PlannerError for a folder that holds none, FileError for a file that says something else."""
    public = folder / "public"
    paths = sorted(public.glob("*/*/hw/*.json"))
    if not paths or not (folder / "models").is_dir():
        raise PlannerError(f"{folder} is no checkout of the recipes with its commands rendered (public/OWNER/NAME/hw/*.json)", f"cd {folder} && {RENDER}")
    if len(paths) > MOST_COMMANDS:
        raise PlannerError(f"{folder}: more than {MOST_COMMANDS:,} commands")
    profiles = _object(public / "taxonomy.json").get("hardware_profiles")
    counts = {name: profile.get("gpu_count") for name, profile in profiles.items() if isinstance(profile, dict)} if isinstance(profiles, dict) else {}
    return [_command(path, public, counts) for path in paths]


def _object(path: Path) -> Mapping[str, object]:
    read = parse_json(read_bytes(path, MAX_BYTES), path)
    if not isinstance(read, dict):
        raise FileError(path, "expected an object")
    return read


def _command(path: Path, public: Path, counts: Mapping[str, object]) -> RecipeCommand:
    said, hardware = _object(path), path.stem
    argv, env = said.get("argv"), said.get("env")
    count = counts.get(hardware)
    return RecipeCommand(
        recipe="/".join(path.relative_to(public).parts[:2]),
        hardware=hardware,
        strategy=str(said.get("strategy", "")),
        variant=str(said.get("variant", "default")),
        gpu=_GPUS.get(hardware, re.sub(r"_\dx$", "", hardware)),
        count=count if isinstance(count, int) and 0 < count <= 1024 else 1,
        argv=tuple(map(str, argv)) if isinstance(argv, list) and said.get("deploy_type", "single_node") == "single_node" else (),
        env=tuple(_variables(env)),
    )


def _variables(env: object) -> Iterator[tuple[str, str]]:
    for name, value in env.items() if isinstance(env, dict) else ():
        if re.fullmatch(r"[A-Za-z_]\w*", str(name)):
            yield str(name), str(value)
