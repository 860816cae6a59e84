"""Which release this is: pyproject.toml reads it here, so that a plan can say who made it without asking the installed package."""

VERSION = "0.1.0"
