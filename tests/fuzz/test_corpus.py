"""Every saved input through its target, and neighbours of it, without a fuzzing engine.

`HYPOTHESIS_PROFILE=deep` (`make test-deep`) tries new neighbours at each run, and more of them; a
plain run tries the same ones always.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.mutation import mutated
from tests.fuzz.registry import TARGETS
from tests.fuzz.target import Target
from tests.fuzz.work import bounded

EVERY_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
PLACES = st.integers(0, 2**16 - 1)


def run(target: Target, content: bytes) -> None:
    with bounded(len(content)):
        target.run(content)


@EVERY_TARGET
def test_saved_inputs_break_nothing(target):
    count = 0
    for content in corpus.inputs(target):
        try:
            run(target, content)
        except BaseException as error:
            error.add_note(f"input {corpus.name_of(content)}: {content[:200]!r}")
            raise
        count += 1
    assert count, "a target without inputs tests nothing"


@EVERY_TARGET
@settings(
    derandomize=not IS_DEEP,
    max_examples=settings().max_examples if IS_DEEP else 60,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(place=PLACES, other=PLACES, random=st.randoms(use_true_random=False))
def test_neighbours_of_saved_inputs_break_nothing(target, place, other, random):
    contents = inputs_of(target)
    content = contents[place % len(contents)]
    run(target, mutated(content, contents[other % len(contents)], random, target))


_INPUTS: dict[str, list[bytes]] = {}


def inputs_of(target: Target) -> list[bytes]:
    if target.name not in _INPUTS:
        _INPUTS[target.name] = list(corpus.inputs(target))
    return _INPUTS[target.name]


def test_files_are_named_by_their_content_and_belong_to_a_target():
    for folder in (corpus.CORPUS, corpus.REGRESSIONS):
        for path in (each for each in folder.glob("*/*") if each.is_file()):
            assert path.parent.name in TARGETS, path
            assert path.name == corpus.name_of(path.read_bytes()), path


@EVERY_TARGET
def test_every_target_has_a_corpus_within_its_bounds(target):
    sizes = [path.stat().st_size for path in corpus.saved(corpus.CORPUS, target)]
    assert sizes
    assert max(sizes) <= target.bytes_max


def test_the_corpora_are_small():
    sizes = [path.stat().st_size for path in corpus.CORPUS.glob("*/*")]
    assert sum(sizes) < corpus.CORPUS_BYTES_MAX


@EVERY_TARGET
def test_every_target_says_what_holds_and_what_may_be_raised(target):
    assert "Invariant: " in target.run.__doc__
    assert "Errors: " in target.run.__doc__
