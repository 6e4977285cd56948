"""Checks of `measure(model, x)`: it returns every term for every model and any training loss."""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.a10_loss_study.known_parts import any_vae, known_vae
from autograder.checks.a10_loss_study.loss_terms import (
    RECON,
    either,
    half_squared_error,
    kl_term,
    loss,
    own,
)
from autograder.checks.shared.differences import rounding_of
from autograder.checks.shared.gaussian import bce, kl_divergence
from autograder.checks.shared.kl import kl_mistakes
from autograder.checks.shared.parameterization import LOGVAR, MEAN
from autograder.checks.shared.parts import images
from autograder.checks.shared.wiring import TOLD
from autograder.checks.vocabulary import Mistake, check, expect, expect_close, expect_tensor, kind
from autograder.protocol.remote import Affine, Submission

Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def reconstruction_mistakes(name: str, term: Term, mean: Term) -> tuple[Mistake, ...]:
    """Return mistakes in the measurement of a reconstruction term.

    Args:
        name: The term's key.
        term: The term, of reconstruction and images: summed over pixels, averaged over images.
        mean: Its mean over pixels.
    """
    return (
        Mistake(
            "measures_a_draw",
            "You measure the image of a sampled code. Decode mu itself.",
            lambda parts, x, mu, logvar: term(parts.decode_draw(mu, logvar), x),
        ),
        Mistake(
            "measures_mean_of_pixels",
            f'"{name}" averages over pixels. Sum over pixels, and average over images.',
            lambda parts, x, mu, logvar: mean(parts.decode(mu), x),
        ),
        Mistake(
            "measures_sum_of_images",
            f'"{name}" grows with the number of images. Average over images.',
            lambda parts, x, mu, logvar: term(parts.decode(mu), x) * len(x),
        ),
        Mistake(
            "measures_loss",
            f'"{name}" also includes the KL. Each number should be one term only.',
            lambda parts, x, mu, logvar: term(parts.decode(mu), x) + kl_divergence(mu, logvar),
        ),
    )


def kl_in_place(name: str) -> Mistake:
    """Return the mistake that a reconstruction term's key contains the KL."""
    return Mistake(
        "keys_exchanged",
        f'"{name}" contains the KL. It should be a reconstruction term.',
        lambda parts, x, mu, logvar: kl_divergence(mu, logvar),
    )


MEASURE_MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "bce": (
        *reconstruction_mistakes("bce", bce, F.binary_cross_entropy),
        Mistake(
            "keys_exchanged",
            '"bce" contains half of the squared error. It should be the cross-entropy.',
            lambda parts, x, mu, logvar: half_squared_error(parts.decode(mu), x),
        ),
        kl_in_place("bce"),
    ),
    "mse": (
        Mistake(
            "keys_exchanged",
            '"mse" contains the cross-entropy. It should be half of the squared error.',
            lambda parts, x, mu, logvar: bce(parts.decode(mu), x),
        ),
        kl_in_place("mse"),
        *reconstruction_mistakes("mse", half_squared_error, F.mse_loss),
        Mistake(
            "half_missing",
            '"mse" is twice the expected value. It should be half of the squared error.',
            lambda parts, x, mu, logvar: 2 * half_squared_error(parts.decode(mu), x),
        ),
    ),
    "kl": (
        Mistake(
            "measures_no_kl",
            '"kl" is 0, whatever mu and logvar are. It should be the KL at the mu and the logvar '
            "that the encoder returns.",
            lambda parts, x, mu, logvar: torch.zeros(()),
        ),
        *(
            Mistake(
                "keys_exchanged",
                f'"kl" contains {name}. It should be the KL.',
                lambda parts, x, mu, logvar, term=term: term(parts.decode(mu), x),
            )
            for name, term in (
                ("the cross-entropy", bce),
                ("half of the squared error", half_squared_error),
            )
        ),
        *(
            Mistake(m.name, m.says, lambda parts, x, mu, logvar, f=m.formula: f(mu, logvar))
            for m in kl_mistakes(LOGVAR, MEAN)
        ),
    ),
}


@check("measure")
def test_measure(submission: Submission) -> None:
    """`measure` returns each term as one number over all images, with mu itself decoded."""
    for n, channels, size in ((4, 1, 28), (3, 3, 32)):
        vae, parts = known_vae(submission, channels, size)
        x = images(n, channels, size)
        mu, logvar = parts.heads(x)
        x_recon, at_prior = parts.decode(mu), torch.zeros_like(mu)
        got = submission.object("measure")(vae, x)
        expect(
            isinstance(got, dict) and set(got) == {"bce", "mse", "kl"},
            '`measure` should return a dict with the keys "bce", "mse" and "kl", got '
            f"{sorted(got) if isinstance(got, dict) else kind(got)}.",
        )
        term = functools.partial(loss, submission, x_recon, x, task="both")
        zero = at_prior, at_prior
        terms: dict[str, tuple[torch.Tensor, str, Callable[[], torch.Tensor]]] = {
            "bce": (bce(x_recon, x), "bce", functools.partial(term, *zero, "bce")),
            "mse": (
                half_squared_error(x_recon, x),
                "squared_error",
                functools.partial(term, *zero, "mse"),
            ),
            "kl": (
                kl_divergence(mu, logvar),
                "kl_divergence",
                functools.partial(kl_term, submission, mu, logvar, "bce", "both"),
            ),
        }
        for key, (right, task, call) in terms.items():
            value = got[key]
            number = torch.tensor(value) if isinstance(value, int | float) else value
            number = expect_tensor(number, (), f'`measure(…)["{key}"]`')
            expected = either(number, right, own(call, task in submission.failed))
            known = (parts, x, mu, logvar)
            # A term may be measured as a difference of two losses.
            error = rounding_of(float(RECON["both"].right(x_recon, x) + terms["kl"][0]))
            mistakes = MEASURE_MISTAKES[key]
            expect_close(number, expected, f'"{key}"', known, mistakes, rounding=error)


@check("measure")
def test_measure_repeats(submission: Submission) -> None:
    """The same model and images always give the same numbers, also for a batch of one."""
    vae, _ = known_vae(submission)
    # Noise in the stub: a `measure` that samples a code returns other numbers in each call.
    vae.set_stub("reparameterize", Affine([torch.eye(3), torch.eye(3)]), noise=True, names=TOLD)
    for n in (5, 1):
        x = images(n)
        first, again = (submission.object("measure")(vae, x) for _ in range(2))
        expect(
            isinstance(first, dict) and first == again,
            "Two calls of `measure` on the same model return different numbers. Do you sample "
            "a code? Decode mu itself.",
            "measures_a_draw",
        )


@check("measure")
def test_measure_is_plain_numbers(submission: Submission) -> None:
    """The returned numbers have no gradient."""
    vae, _ = known_vae(submission)
    got = submission.object("measure").trace(vae, images(2))
    carries = isinstance(got, dict) and any(
        isinstance(value, torch.Tensor) and value.requires_grad for value in got.values()
    )
    expect(
        isinstance(got, dict) and not carries,
        "The numbers still have a computation graph, which keeps a whole batch in memory. "
        "Compute them under `torch.no_grad()`, or convert them with `.item()`.",
        "measure_keeps_graph",
    )


# Dropout in both parts makes the model's mode visible in its numbers.
DROPPING = """
import torch as _torch
class _DroppingEncoder(_torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = _torch.nn.Dropout(0.5)
    def forward(self, x):
        rows = self.drop(x.flatten(1))
        return rows[:, :5], rows[:, 5:10]
class _DroppingDecoder(_torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _torch.nn.Sequential(
            _torch.nn.Linear(5, 784), _torch.nn.Dropout(0.5), _torch.nn.Sigmoid()
        )
    def forward(self, z):
        return self.layers(z).unflatten(1, (1, 28, 28))
_dropping_encoder, _dropping_decoder = _DroppingEncoder(), _DroppingDecoder()
del _torch, _DroppingEncoder, _DroppingDecoder
"""


@check("measure")
def test_measure_switches_training_off(submission: Submission) -> None:
    """A model with dropout is measured in eval mode, even if it was left in training mode."""
    vae = any_vae(submission, 5)
    submission.run(DROPPING, "dropping")
    for part in ("encoder", "decoder"):
        stub = submission.object(f"_dropping_{part}")
        submission.request("set", ref=vae.ref, path=part, value=stub)
    measure, x = submission.object("measure"), images(5)
    measured = []
    for mode in (vae.eval, vae.eval, vae.train):
        mode()
        # As text, return values of any type can be compared.
        measured.append(str(measure(vae, x)))
    expect(
        measured[0] == measured[1],
        "Two calls for a model with dropout return different numbers, although it is in eval mode. "
        "Does `measure` switch to training mode, or sample a code?",
        "measures_in_training_mode",
    )
    expect(
        measured[2] == measured[0],
        "A model with dropout gives other numbers in training mode than in eval mode. "
        "`measure` uses the current mode of the model: call `model.eval()` first.",
        "measures_in_training_mode",
    )
