"""A trained model is confirmed in fresh workers: for each assignment, and with replaced parts."""

import contextlib
import math
from dataclasses import replace

import pytest
import torch

from autograder.build.notebooks import reference
from autograder.checks.confirmation import Apart, trained_state
from autograder.checks.registry import load_checks
from autograder.checks.shared.answers import expect_codes
from autograder.checks.training import expect_trained
from autograder.checks.vocabulary import CheckFailed
from autograder.course.sources import assignments
from autograder.grading.judge import judging
from autograder.quality.corpus import write

TRAINED = [name for name in assignments() if hasattr(load_checks(name).module, "SPEC")]


def short(assignment: str, **values):
    """Return a training spec with one epoch of few images, and bounds that every model reaches."""
    spec = load_checks(assignment).module.SPEC
    bounds = {"below": math.inf, "below_new": math.inf, "untrained": 0.0}
    return replace(spec, images=200, to_the_end=False, **bounds | values)


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens an assignment's reference in a worker."""

    def open_it(assignment):
        return judging(write(reference(assignment), tmp_path, "ada", assignment), assignment)

    return open_it


@pytest.mark.parametrize("assignment", TRAINED)
def test_the_trained_values_reach_the_fresh_workers(opened, assignment):
    """Both workers have the values of the model that was trained, and new ones before."""
    spec = short(assignment)
    with opened(assignment) as current:
        submission = current.submission
        fresh, start = [], submission._fresh
        submission._fresh = lambda: fresh.append(start()) or fresh[-1]
        with contextlib.suppress(CheckFailed):  # after one epoch, few code vectors are in use
            model = expect_trained(submission, load_checks(assignment).tasks, spec)
            assert isinstance(model, Apart)
        new, encoding, decoding = (one.object(spec.names[0]).state() for one in fresh)
        trained = submission.object(spec.names[0]).state()
        for state in (encoding, decoding):
            assert all(torch.equal(state[name], value) for name, value in trained.items())
        assert any(not torch.equal(new[name], value) for name, value in trained.items())


@pytest.mark.parametrize("failed", ["encoder", "decoder", "reparameterize", "forward"])
def test_a_replaced_part_is_confirmed_with_the_parts_in_the_fresh_workers(opened, failed):
    with opened("03_fc_vae") as current:
        submission = current.submission
        submission.failed = {failed}
        tasks = load_checks("03_fc_vae").tasks
        model = expect_trained(submission, tasks, short("03_fc_vae"))
        remote = {
            name: part.remote
            for name, part in model.named_children()
            if part is not None and hasattr(part, "remote")
        }
        assert remote
        assert all(part.submission is not submission for part in remote.values())
        if "decoder" in remote and "encoder" in remote:
            assert remote["decoder"].submission is not remote["encoder"].submission


def test_a_state_may_have_the_budget_and_a_little_more(opened):
    """The budget counts 4 bytes as one value, so a wider type cannot hold more."""

    class Model:
        def __init__(self, *sizes, dtype=torch.float32):
            self.sizes, self.dtype = sizes, dtype

        def state(self):
            return {str(n): torch.full((n,), float(n), dtype=self.dtype) for n in self.sizes}

    class Twice(Model):
        """A layer with two names."""

        def state(self):
            found = super().state()
            return found | {f"again.{name}": value.clone() for name, value in found.items()}

    assert trained_state(Model(1000, 2050), 1000)
    assert trained_state(Model(10**7), 0)
    assert trained_state(Twice(3000), 1000)
    with pytest.raises(CheckFailed, match=r"state has 3,051 values"):
        trained_state(Model(1000, 2051), 1000)
    with pytest.raises(CheckFailed, match=r"state has 4,000 values"):
        trained_state(Model(2000, dtype=torch.float64), 1000)


def test_the_low_digits_of_a_code_do_not_reach_the_decoder():
    """Without the noise, a second code could be hidden in them."""
    torch.manual_seed(0)
    seen, hidden = torch.randint(-50, 50, (2, 1000, 2)) / 10
    codes = seen + hidden * 1e-5
    recovered = [1e5 * (c - (10 * c).round() / 10) for c in (codes, expect_codes(codes, 1000, 2))]
    near = [float((found - hidden).abs().lt(0.2).float().mean()) for found in recovered]
    assert near[0] > 0.95
    assert near[1] < 0.05


def test_a_worker_sees_no_image_but_the_number_of_images(opened):
    """`load_dataset` returns noise of the right number, shape and type, also in a cold worker."""
    from vae_utils import load_dataset

    with opened("03_fc_vae") as current:
        submission = current.submission
        for name, train in (("mnist", True), ("fashion_mnist", False), ("photo_patches", False)):
            submission.run(
                "from vae_utils import load_dataset\n"
                f"found = load_dataset({name!r}, train={train}, quiet=True)\n"
                "size, sample, labels = len(found), found.images[:50], found.labels",
                "cell",
            )
            real = load_dataset(name, train=train, source="embedded", quiet=True)
            sample, labels = submission.value("sample"), submission.value("labels")
            assert submission.value("size") == len(real)
            assert (sample.dtype, sample.shape[1:]) == (real.images.dtype, real.images.shape[1:])
            assert (labels.dtype, labels.shape) == (real.labels.dtype, real.labels.shape)
            assert set(labels.tolist()) == set(real.labels.tolist())
            distance = torch.cdist(sample.flatten(1).float(), real.images.flatten(1).float())
            assert distance.min() > 1000
