"""The list of architectures and the files that tell how each is built agree."""

import importlib

import pytest

from planner.architecture import families
from planner.catalogue.resolve import find_source


def test_every_name_is_told_by_the_file_that_is_said_to():
    for file, names in families.NAMES.items():
        assert names.split() == list(importlib.import_module(f"planner.architecture.families.{file}").FAMILIES), file


def test_no_name_stands_twice():
    assert len(families.FAMILIES) == sum(len(names.split()) for names in families.NAMES.values())


@pytest.mark.parametrize(("name", "experts"), [("nemotron-3-nano-4b", 0), ("nemotron-nano-9b-v2", 0), ("nemotron-3-super-120b-a12b", 22)])
def test_a_class_whose_layers_have_no_experts_routes_to_none(name, experts):
    """Transformers' Nemotron-H defaults to two of eight, whatever its pattern: nothing is set aside for the experts of a dense one."""
    assert find_source(name).spec.experts_per_token == experts
