"""Wrong values that no list contains are explained: factors, weights, samples, lines, classes."""

import math

import pytest
import torch

from autograder.checks.a09_gaussian_vae.lines import expect_on_line
from autograder.checks.shared.kl_terms import expect_known_terms
from autograder.checks.shared.loss_terms_fit import expect_density, expect_no_skip, expect_weights
from autograder.checks.shared.parameterization import LOGVAR, MEAN, SIGMA, TOTAL
from autograder.checks.shared.sampling_mistakes import GRID, expect_no_known_sample, moments
from autograder.checks.stand_ins import define_missing
from autograder.checks.vocabulary import CheckFailed, Task
from autograder.protocol.remote import Raised, Submission, direct
from autograder.worker.worker import Worker


def mistake_of(call, *args) -> tuple[str | None, str]:
    """Return the mistake and the message of a check that fails; (None, "") if it does not."""
    try:
        call(*args)
    except CheckFailed as found:
        return found.mistake, found.message
    return None, ""


def right_kl(mu, sigma):
    return (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).sum()


@pytest.mark.parametrize(
    ("kl", "mistake", "says"),
    [
        (right_kl, None, ""),
        (lambda m, s: 7 * right_kl(m, s), "kl_scaled", "7 times"),
        (lambda m, s: right_kl(m, s) / math.log(2), "kl_in_bits", "bits"),
        (lambda m, s: right_kl(m, s) + 1.5 * (m**2).sum(), "kl_factor", "mu² is 4 times"),
        (lambda m, s: (0.5 * (m**2 + s**2 - 1) - s.log2()).sum(), "kl_log_base", "base 2"),
        (lambda m, s: right_kl(m, s) - 3 * s.log().sum(), "kl_factor", "log σ is 4 times"),
        (lambda m, s: right_kl(m, s) + (m**4).sum(), None, ""),
    ],
)
def test_the_wrong_term_of_a_kl_is_found(kl, mistake, says):
    torch.manual_seed(0)
    found = mistake_of(expect_known_terms, kl, SIGMA, TOTAL)
    assert found[0] == mistake
    assert says in found[1]


def test_the_terms_of_a_mean_kl_of_log_variances_are_found():
    torch.manual_seed(0)

    def kl(mu, logvar):
        return -0.5 * (1 + logvar - mu**2 - 3 * logvar.exp()).sum() / len(mu)

    assert "σ² is 3 times" in mistake_of(expect_known_terms, kl, LOGVAR, MEAN)[1]


@pytest.mark.parametrize(
    ("weights", "mistake"),
    [
        ((1, 1), None),
        ((1, 4), "kl_weighted"),
        ((0.5, 1), "recon_weighted"),
        ((1 / 128, 1 / 128), "loss_scaled"),
        ((2, 3), "terms_weighted"),
    ],
)
def test_the_weights_of_two_terms_are_found(weights, mistake):
    recon, kl = torch.rand(2, 6) * 9
    loss = weights[0] * recon + weights[1] * kl
    assert mistake_of(expect_weights, loss, recon, kl, "the loss")[0] == mistake
    assert mistake_of(expect_weights, -loss, recon, kl, "the ELBO", -1.0)[0] == mistake


@pytest.mark.parametrize(("share", "mistake"), [(0.0, None), (0.1, "skip_connection")])
def test_a_connection_around_the_code_is_found(share, mistake):
    right, x = torch.rand(2, 3, 1, 28, 28)
    got = right + share * x
    assert mistake_of(expect_no_skip, got, right, x, "The output")[0] == mistake


@pytest.mark.parametrize(
    ("weights", "mistake", "says"),
    [
        ((1, 1, 1), None, ""),
        ((1, -1, 1), "recon_factor", "log σ_x is -1 times"),
        ((1, 1, 2), "recon_factor", "the constant is 2 times"),
        ((1 / math.log(2),) * 3, "recon_in_bits", "bits"),
    ],
)
def test_the_terms_of_a_density_are_found(weights, mistake, says):
    squares, logs = torch.rand(8).double() * 900, torch.randn(8).double() * 500
    constant = 784 * 0.5 * math.log(2 * math.pi)
    got = weights[0] * 0.5 * squares + weights[1] * logs + weights[2] * constant
    found = mistake_of(expect_density, got, squares, logs, 784)
    assert found[0] == mistake
    assert says in found[1]


@pytest.mark.parametrize(
    ("sample", "mistake"),
    [
        (lambda m, s: m + s * GRID, None),
        (lambda m, s: m - s * GRID, None),
        (lambda m, s: m + s * (m + s * GRID), "sampled_twice"),
        (lambda m, s: m + s * GRID.abs(), "noise_absolute"),
        (lambda m, s: (m + s * GRID).abs(), "sample_one_sided"),
        (lambda m, s: s * (m + GRID), "mu_scaled"),
        (lambda m, s: m + s * GRID.clamp(-1, 1), "noise_clipped"),
        # The same deviation as clipped noise, within the error of the measurement.
        (lambda m, s: m + s * GRID / math.sqrt(2), None),
    ],
)
def test_a_wrong_sample_is_known_by_its_moments(sample, mistake):
    def measure(mu, sigma):
        return moments(sample(mu, sigma))

    assert mistake_of(expect_no_known_sample, measure)[0] == mistake


def test_points_beside_the_line_and_uneven_points_differ():
    a, b = torch.randn(2, 5)
    even = torch.linspace(0, 1, 7)[:, None]
    assert mistake_of(expect_on_line, a + even**2 * (b - a), a, b)[0] == "uneven_steps"
    assert mistake_of(expect_on_line, a + even * (b + a), a, b)[0] == "not_on_line"


CELLS = {
    "encoder": "class Encoder:\n    def __init__(self):\n        raise ValueError",
    "model": "class Model:\n    def __init__(self):\n        self.encoder = Encoder()",
    "settings": "size = 3\nmodel = Model()",
}


@pytest.mark.parametrize("failed", [{"encoder"}, set()])
def test_a_model_exists_although_one_class_cannot_be_made(failed):
    submission = Submission(direct(Worker({"__name__": "__main__"})), "none")
    for name, source in CELLS.items():
        submission.sources[name] = source
        try:
            submission.run(source, name)
        except Raised as error:
            submission.cell_errors[name] = error
    tasks = (Task("encoder", 1, "Encoder", parts=("encoder",), classes=("Encoder",)),)
    define_missing(submission, tasks, failed, "model")
    if failed:
        assert submission.object("model").kind == "Model"
        assert not submission.cell_errors
    else:
        with pytest.raises(Raised):
            submission.object("model")
