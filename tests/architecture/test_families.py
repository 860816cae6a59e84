"""The list of architectures and the files that tell how each is built agree."""

import importlib

from planner.architecture import families


def test_every_name_is_told_by_the_file_that_is_said_to():
    for file, names in families.NAMES.items():
        assert names.split() == list(importlib.import_module(f"planner.architecture.families.{file}").FAMILIES), file


def test_no_name_stands_twice():
    assert len(families.FAMILIES) == sum(len(names.split()) for names in families.NAMES.values())
