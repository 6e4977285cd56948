"""Checks of `measure(model, x)`: every term of every model, whatever it was trained with."""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.a10_loss_study.loss_terms import (
    either,
    half_squared_error,
    kl_term,
    loss,
    own,
)
from autograder.checks.shared.gaussian import bce, kl_divergence
from autograder.checks.shared.kl import kl_mistakes
from autograder.checks.shared.parameterization import LOGVAR, MEAN
from autograder.checks.shared.parts import images, model_or_bare
from autograder.checks.shared.wiring import TOLD, KnownVae
from autograder.checks.vocabulary import Mistake, check, expect, expect_close, expect_tensor, kind
from autograder.protocol.remote import Affine, Submission

Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def reconstruction_mistakes(name: str, term: Term, mean: Term) -> tuple[Mistake, ...]:
    """Return what is measured in the place of a reconstruction term.

    Args:
        name: The term's key.
        term: The term, of reconstruction and images: summed over pixels, averaged over images.
        mean: Its mean over pixels.
    """
    return (
        Mistake(
            "measures_a_draw",
            "What is measured is the image of a sampled code: decode mu itself.",
            lambda parts, x, mu, logvar: term(parts.decode_draw(mu, logvar), x),
        ),
        Mistake(
            "measures_mean_of_pixels",
            f'"{name}" averages over pixels: sum them, and average over images.',
            lambda parts, x, mu, logvar: mean(parts.decode(mu), x),
        ),
        Mistake(
            "measures_sum_of_images",
            f'"{name}" grows with the number of images: average over them.',
            lambda parts, x, mu, logvar: term(parts.decode(mu), x) * len(x),
        ),
        Mistake(
            "measures_loss",
            f'"{name}" includes the KL as well: each number should be one term alone.',
            lambda parts, x, mu, logvar: term(parts.decode(mu), x) + kl_divergence(mu, logvar),
        ),
    )


MEASURE_MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "bce": reconstruction_mistakes("bce", bce, F.binary_cross_entropy),
    "mse": (
        *reconstruction_mistakes("mse", half_squared_error, F.mse_loss),
        Mistake(
            "half_missing",
            '"mse" is twice what it should be: half of the squared error is asked for.',
            lambda parts, x, mu, logvar: 2 * half_squared_error(parts.decode(mu), x),
        ),
    ),
    "kl": tuple(
        Mistake(m.name, m.says, lambda parts, x, mu, logvar, f=m.formula: f(mu, logvar))
        for m in kl_mistakes(LOGVAR, MEAN)
    ),
}


@check("measure")
def test_measure(submission: Submission) -> None:
    """Every term is measured, at the image of the mean code: one number each, over all images."""
    vae = model_or_bare(submission, "VAE")
    for n, channels, size in ((4, 1, 28), (3, 3, 32)):
        parts = KnownVae(vae, (channels, size, size), layers=False)
        x = images(n, channels, size)
        mu, logvar = parts.heads(x)
        x_recon, at_prior = parts.decode(mu), torch.zeros_like(mu)
        got = submission.object("measure")(vae, x)
        expect(
            isinstance(got, dict) and set(got) == {"bce", "mse", "kl"},
            'The answer should be a dict with the keys "bce", "mse" and "kl", got '
            f"{sorted(got) if isinstance(got, dict) else kind(got)}.",
        )
        term = functools.partial(loss, submission, x_recon, x)
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
                functools.partial(kl_term, submission, mu, logvar, "bce"),
            ),
        }
        for key, (right, task, call) in terms.items():
            value = got[key]
            number = value if isinstance(value, torch.Tensor) else torch.tensor(value)
            number = expect_tensor(number, (), f'`measure(…)["{key}"]`')
            due = either(number, right, own(call, task in submission.failed))
            known = (parts, x, mu, logvar)
            expect_close(number, due, f'"{key}"', known, MEASURE_MISTAKES[key])


@check("measure")
def test_measure_repeats(submission: Submission) -> None:
    """The same model and images always give the same numbers, one image alone included."""
    vae = model_or_bare(submission, "VAE")
    KnownVae(vae, layers=False)
    # Noise where it has no business: whoever draws a code gets another answer each time.
    vae.set_stub("reparameterize", Affine([torch.eye(3), torch.eye(3)]), noise=True, names=TOLD)
    for n in (5, 1):
        x = images(n)
        first, again = (submission.object("measure")(vae, x) for _ in range(2))
        expect(
            isinstance(first, dict) and first == again,
            "Measured twice, a model gets different numbers: is a code drawn? Decode mu itself.",
            "measures_a_draw",
        )


@check("measure")
def test_measure_is_plain_numbers(submission: Submission) -> None:
    """What comes out carries no gradient."""
    vae = model_or_bare(submission, "VAE")
    KnownVae(vae, layers=False)
    got = submission.object("measure").trace(vae, images(2))
    carries = isinstance(got, dict) and any(
        isinstance(value, torch.Tensor) and value.requires_grad for value in got.values()
    )
    expect(
        isinstance(got, dict) and not carries,
        "The numbers carry a graph with them, and with it the memory of a whole batch. Compute "
        "them under `torch.no_grad()`, or take them out with `.item()`.",
        "measure_keeps_graph",
    )


# Dropout in both parts, so that the mode that a model is in shows in its numbers.
DROPPING = """
import torch as _torch
class _DroppingEncoder(_torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = _torch.nn.Dropout(0.5)
    def forward(self, x):
        rows = self.drop(x.flatten(1))
        return rows[:, :5], rows[:, 5:10]
_dropping_encoder = _DroppingEncoder()
_dropping_decoder = _torch.nn.Sequential(
    _torch.nn.Linear(5, 784),
    _torch.nn.Dropout(0.5),
    _torch.nn.Sigmoid(),
    _torch.nn.Unflatten(1, (1, 28, 28)),
)
del _torch, _DroppingEncoder
"""


@check("measure")
def test_measure_switches_training_off(submission: Submission) -> None:
    """A model with dropout is measured in eval mode, even if it was left in training mode."""
    vae = model_or_bare(submission, "VAE")
    submission.run(DROPPING, "dropping")
    for part in ("encoder", "decoder"):
        stand_in = submission.object(f"_dropping_{part}")
        submission.request("set", ref=vae.ref, path=part, value=stand_in)
    measure, x = submission.object("measure"), images(5)
    measured = []
    for mode in (vae.eval, vae.eval, vae.train):
        mode()
        # As text, whatever comes back can be compared.
        measured.append(str(measure(vae, x)))
    # What differs in eval mode too is another check's to name.
    expect(
        measured[0] != measured[1] or measured[2] == measured[0],
        "In training mode, a model with dropout gets other numbers than in eval mode: `measure` "
        "takes the model in whichever mode it finds it.",
        "measures_in_training_mode",
    )
