"""config.json -> ModelSpec. Pure and closed: what is not known is refused by name, never guessed."""

from planner.architecture.build import build_model, stored_bits
from planner.architecture.config import Config, parse_config

__all__ = ["Config", "build_model", "parse_config", "stored_bits"]
