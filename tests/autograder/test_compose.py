"""Right submissions that are composed of ways to write each part."""

import ast

import pytest
import torch

from autograder.course.sources import assignments
from autograder.grading.judge import unjudged
from autograder.quality import compose as composing
from autograder.quality.compose import Graded, Plan, Report, compose, plan, suspects, uncovered
from autograder.quality.styles import STYLES, restyled
from autograder.quality.ways import Filled, Ways, load_ways, seeded_pick

EVERY = assignments()


def ways_of(cells, **slots):
    return Ways(cells, {name: {k: {"text": v} for k, v in s.items()} for name, s in slots.items()})


@pytest.mark.parametrize("assignment", EVERY)
def test_a_composition_depends_on_its_seed_alone_and_is_python(assignment):
    for seed in (0, 7):
        one = compose(assignment, seed)
        assert one == compose(assignment, seed)
        sub = one.submission
        for _, source in (*sub.cells, *sub.before, *sub.after):
            ast.parse(source)
    assert compose(assignment, 0).submission.cells != compose(assignment, 1).submission.cells


def test_the_compositions_of_make_compose_use_every_way():
    """An assignment uses its own ways itself; a shared way is used in at least one assignment."""
    used, shared = set(), set()
    for assignment in EVERY:
        ways = load_ways(assignment)
        missing = uncovered(assignment, range(ways.count))
        assert not [way for way in missing if way.partition(".")[0] in ways.own]
        shared |= missing
        used |= ways.reached() - missing
    assert shared <= used


def test_a_slot_keeps_its_indentation_and_one_way_for_all_its_places():
    ways = ways_of(
        {"c": "def f():\n    {{body}}\n\n\ny = {{value}} + {{value#2}}"},
        body={"two": "x = {{value}}\nreturn x"},
        value={"one": "1", "two": "2"},
    )
    filled = Filled(ways, lambda slot, names: names[slot.endswith("#2")])
    source, before = filled.cell(ways.cells["c"])
    assert source == "def f():\n    x = 1\n    return x\n\n\ny = 1 + 2"
    assert before == []
    assert filled.chosen == {"body": "two", "value": "one", "value#2": "two"}


def test_consecutive_seeds_use_all_ways_of_a_slot():
    names = tuple("abcdefg")
    for start in (0, 7, 700):
        assert {seeded_pick(seed)("slot", names) for seed in range(start, start + 7)} == set(names)


CODE = """
class Model(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layer = nn.Identity(size)

    def scale(self, x, factor):
        doubled = x * factor
        return doubled + factor

    def forward(self, x):
        y = self.layer(x)
        return self.scale(y, 2.0)
"""


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_the_code_but_not_its_result(style):
    found = (restyled(CODE, [style], f"seed {n}", CODE) for n in range(20))
    source, before, after, applied = next(one for one in found if one[3])
    assert applied == [style]
    assert (source, before, after) != (CODE, [], [])

    names = {"nn": torch.nn, "torch": torch}
    for text in (*before, source, *after):
        exec(compile(text, "cell", "exec"), names)
    assert names["Model"](3)(torch.tensor(4.0)) == 10.0


def test_a_plan_spreads_the_trained_ones_over_the_assignments():
    plans = plan(EVERY, 10, 5, 25)
    assert [len(one.trained) for one in plans.values()] == [3, 3, 3] + [2] * 8
    assert all(set(one.trained) <= set(range(5, 15)) for one in plans.values())
    assert sum(len(one.seeds) for one in plan(EVERY, None, 0, 0).values()) >= 2000


def test_a_report_names_parts_messages_and_the_command_that_repeats_a_loss():
    result = unjudged("03_fc_vae", "seed_1", "graded", "")
    good, bad = compose("03_fc_vae", 0), compose("03_fc_vae", 1)
    both = (
        Graded(good, result, ()),
        Graded(bad, result, ("seed_1: lost tasks: kl_divergence",)),
    )
    report = Report(Plan("03_fc_vae", range(2)), both, (), 1.0)
    assert [one.composition.seed for one in report.failing] == [1]
    text = "\n".join(report.lines())
    assert "vaelab compose 03_fc_vae --seed 1 --count 1" in text
    assert "lost tasks: kl_divergence" in text
    assert bad.parts[0] in text
    assert suspects(both)[next(p for p in bad.parts if p not in good.parts)] == (1, 1)
    assert composing.pairs_covered([good]) > 100


# Different from the seeds of other tests, so that they add cases.
SAMPLE = (11, 12)


@pytest.mark.parametrize("assignment", EVERY)
def test_a_sample_of_the_compositions_keeps_all_points(assignment, tmp_path, judges):
    """`make compose` grades 2,000 of them, and trains 50."""
    sample = [compose(assignment, seed) for seed in SAMPLE]
    found = list(composing.grade(sample, tmp_path, judges))
    assert [one.problems for one in found] == [(), ()]
