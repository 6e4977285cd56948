"""The tasks and checks of `00_reparameterization`."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.kl import Pair, kl_checks
from autograder.checks.shared.parameterization import (
    EACH_IMAGE,
    LOGVAR,
    SIGMA,
    Parameterization,
    expect_one_each,
    misreadings,
)
from autograder.checks.shared.parts import expect_inputs_kept
from autograder.checks.vocabulary import (
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    fail,
    kind,
)
from autograder.protocol.remote import Raised, Submission

TASKS = (
    Task("reparameterize", 30, "Reparameterization"),
    Task("toy_gradients", 25, "Gradients by hand"),
    Task("kl_divergence", 35, "KL divergence"),
)


# Reparameterization


def reparameterize(submission: Submission, *inputs: torch.Tensor) -> torch.Tensor:
    """Call the submission's `reparameterize` and expect the shape of its inputs."""
    z = submission.object("reparameterize")(*inputs)
    expect(
        not isinstance(z, torch.Tensor) or z.dtype not in (torch.float16, torch.bfloat16),
        "z has only 16 bits for each number, and mu, sigma and eps have 32. Keep their type.",
        "half_precision",
    )
    return expect_tensor(z, inputs[0].shape, "`reparameterize(mu, sigma, eps)`")


def parameters(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means of both signs and standard deviations on both sides of 1."""
    return 1.5 * torch.randn(shape), 0.3 + 2 * torch.rand(shape)


@check("reparameterize")
def test_given_noise_is_used(submission: Submission) -> None:
    """The same eps returns the same z, and another eps returns another z."""
    mu, sigma = parameters(6, 3)
    eps, other = torch.randn(6, 3), torch.randn(6, 3)
    first, again, moved = (reparameterize(submission, mu, sigma, e) for e in (eps, eps, other))
    expect(
        torch.equal(first, again),
        "Two calls with the same mu, sigma and eps return two different samples. The noise is the "
        "argument eps. Use no other random numbers.",
        "own_noise",
    )
    expect(
        not torch.equal(first, moved),
        "z stays the same when eps changes. Is the argument eps used?",
        "eps_ignored",
    )


def _read_as(other: Parameterization) -> Mistake:
    """Make the mistake of reading sigma as another parameter."""
    return Mistake(
        SIGMA.read_as(other),
        f"Your z is the result if sigma is read as {other.symbol}. Here sigma is σ itself.",
        lambda mu, sigma, eps: mu + other.to_sigma(sigma) * eps,
    )


DRAW_MISTAKES = (
    Mistake(
        "mu_dropped",
        "Your z is always centred on 0: it does not contain mu.",
        lambda mu, sigma, eps: sigma * eps,
    ),
    Mistake(
        "sigma_squared",
        "Your noise is multiplied by σ². The argument is σ: multiply by σ itself.",
        lambda mu, sigma, eps: mu + sigma**2 * eps,
    ),
    *(_read_as(other) for other in misreadings(SIGMA)),
    Mistake(
        "no_sampling",
        "Your z is mu itself: it contains no noise.",
        lambda mu, sigma, eps: mu,
    ),
    Mistake(
        "eps_ignored",
        "Your z is mu + sigma for every eps.",
        lambda mu, sigma, eps: mu + sigma,
    ),
    Mistake(
        "no_sigma",
        "Your noise is not scaled: z does not contain sigma.",
        lambda mu, sigma, eps: mu + eps,
    ),
    Mistake(
        "mu_and_sigma_swapped",
        "mu and sigma are swapped: mu is added, sigma multiplies the noise.",
        lambda mu, sigma, eps: sigma + mu * eps,
    ),
    Mistake(
        "mu_scaled",
        "sigma multiplies mu as well. It should multiply the noise only.",
        lambda mu, sigma, eps: (mu + eps) * sigma,
    ),
    Mistake(
        "mu_multiplied",
        "eps multiplies mu as well. It should multiply sigma only.",
        lambda mu, sigma, eps: (mu + sigma) * eps,
    ),
    Mistake(
        "noise_subtracted",
        "Your noise is subtracted from mu. It should be added.",
        lambda mu, sigma, eps: mu - sigma * eps,
    ),
    Mistake(
        "mu_doubled",
        "Your z is centred on twice mu.",
        lambda mu, sigma, eps: 2 * mu + sigma * eps,
    ),
    Mistake(
        "mu_negated",
        "Your z is centred on the opposite of mu.",
        lambda mu, sigma, eps: -mu + sigma * eps,
    ),
    Mistake(
        "sigma_added",
        "You add sigma to the noise. It should multiply the noise.",
        lambda mu, sigma, eps: mu + sigma + eps,
    ),
    Mistake(
        "divided_by_sigma",
        "Your noise is divided by sigma. It should be multiplied by sigma.",
        lambda mu, sigma, eps: mu + eps / sigma,
    ),
    Mistake(
        "sample_standardized",
        "You subtract mu and divide by sigma: this turns a sample into standard normal noise. You "
        "need the reverse.",
        lambda mu, sigma, eps: (eps - mu) / sigma,
    ),
    Mistake(
        "mu_multiplied",
        "mu multiplies the noise as well. It should be added to sigma * eps.",
        lambda mu, sigma, eps: mu * sigma * eps,
    ),
    Mistake(
        "noise_absolute",
        "Your z contains |eps|: it is never below mu. Use eps itself.",
        lambda mu, sigma, eps: mu + sigma * eps.abs(),
    ),
    Mistake(
        "noise_absolute",
        "Your z contains eps²: it is never below mu. Use eps itself.",
        lambda mu, sigma, eps: mu + sigma * eps**2,
    ),
    Mistake(
        "noise_clipped",
        "Your noise is cut off at −1 and 1. Use eps unchanged.",
        lambda mu, sigma, eps: mu + sigma * eps.clamp(-1, 1),
    ),
    *(
        Mistake(
            "noise_spread",
            f"Your noise is {factor:g} times as large as sigma * eps.",
            lambda mu, sigma, eps, factor=factor: mu + factor * sigma * eps,
        )
        for factor in (2.0, 0.5)
    ),
    Mistake(
        "softplus_for_sigma",
        "You apply a softplus to sigma. The argument is σ itself, and positive.",
        lambda mu, sigma, eps: mu + F.softplus(sigma) * eps,
    ),
    Mistake(
        "logarithm_of_sigma",
        "You take the logarithm of sigma. The argument is σ itself: use it unchanged.",
        lambda mu, sigma, eps: mu + sigma.log() * eps,
    ),
    Mistake(
        "sample_negated",
        "Your z has the opposite sign: it is −(mu + sigma * eps).",
        lambda mu, sigma, eps: -(mu + sigma * eps),
    ),
    Mistake(
        "sample_one_sided",
        "Your z is never negative: you apply a ReLU or a clamp to it. z may have any sign.",
        lambda mu, sigma, eps: (mu + sigma * eps).clamp(min=0),
    ),
    Mistake(
        "sample_one_sided",
        "Your z is never negative: you take its absolute value. z may have any sign.",
        lambda mu, sigma, eps: (mu + sigma * eps).abs(),
    ),
)


@check("reparameterize")
def test_draw_value(submission: Submission) -> None:
    """The sample z is mu plus sigma times the noise eps, in any shape."""
    for shape in ((5, 4), (1, 3), (6,), ()):
        mu, sigma = parameters(*shape)
        inputs = (mu, sigma, torch.randn(shape))
        right = mu + sigma * inputs[2]
        expect_close(
            reparameterize(submission, *inputs),
            right,
            "z",
            inputs,
            DRAW_MISTAKES,
            otherwise=lambda inputs=inputs: expect_entries_apart(submission, *inputs),  # type: ignore[misc]
        )


def expect_entries_apart(submission: Submission, *inputs: torch.Tensor) -> None:
    """Explain a z whose last entry uses other entries of mu, sigma and eps.

    Args:
        submission: The submission.
        inputs: mu, sigma and eps, of one shape with more than one entry.

    Raises:
        CheckFailed: If the last entry of z changes with the others.
    """
    if inputs[0].numel() < 2:
        return
    z, again = (reparameterize(submission, *inputs) for _ in range(2))
    if not torch.equal(z, again):
        return  # its own noise
    rest = []
    for value in inputs:
        moved = 1.5 * value
        moved.view(-1)[-1] = value.view(-1)[-1]
        rest.append(moved)
    expect(
        abs(float(reparameterize(submission, *rest).reshape(-1)[-1] - z.reshape(-1)[-1])) < 1e-6,
        "The last number of z changes with the other numbers of mu, sigma or eps. Compute each "
        "number of z from the numbers at the same place.",
        "entries_mixed",
    )


@check("reparameterize")
def test_draw_gradients(submission: Submission) -> None:
    """Gradients reach mu and sigma: ∂z/∂mu is 1 and ∂z/∂sigma is eps."""
    mu, sigma = (p.requires_grad_() for p in parameters(6, 3))
    eps = torch.randn(6, 3)
    z = reparameterize(submission, mu, sigma, eps)
    by_mu, by_sigma = expect_grad(z, {"mu": mu, "sigma": sigma}, "z", "detached")
    expect_close(by_mu, torch.ones_like(mu), "The gradient of z by mu")
    expect_close(by_sigma, eps, "The gradient of z by sigma")


@check("reparameterize")
def test_draw_keeps_its_inputs(submission: Submission) -> None:
    """The tensors mu, sigma and eps do not change during the call."""
    mu, sigma = parameters(6, 3)
    inputs = {"mu": mu, "sigma": sigma, "eps": torch.randn(6, 3)}
    expect_inputs_kept(submission, "reparameterize", inputs)


# Gradients by hand

EXAMPLE = (2.0, 1.0, 0.5, 3.0)


def gradients(submission: Submission, *inputs: Any) -> torch.Tensor:
    """Call the submission's `toy_gradients` and expect two numbers; return them as (2,)."""
    got = submission.object("toy_gradients")(*inputs)
    if isinstance(got, torch.Tensor) and got.shape == (2,):
        got = tuple(got)
    again = submission.object("toy_gradients")(*inputs)
    if isinstance(again, torch.Tensor) and again.shape == (2,):
        again = tuple(again)
    expect(
        _as_numbers(got) == _as_numbers(again),
        "Two calls with the same arguments return different gradients. The noise is the argument "
        "eps. Use no other random numbers.",
        "own_noise",
    )
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`toy_gradients` should return the two values (dL/dmu, dL/dsigma), got {kind(got)}.",
    )
    values = [torch.tensor(g).double() if isinstance(g, int | float) else g for g in got]
    names = ("`dL/dmu`", "`dL/dsigma`")
    return torch.stack([expect_tensor(g, (), n) for g, n in zip(values, names, strict=True)])


def _as_numbers(pair: Any) -> list[float] | None:
    """Return the finite numbers of a pair; None if it is none."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        return None
    single = (int, float)
    found = [
        float(value)
        for value in pair
        if isinstance(value, single) or (isinstance(value, torch.Tensor) and value.numel() == 1)
    ]
    return found if len(found) == 2 and all(map(math.isfinite, found)) else None


def toy_inputs() -> tuple[float, float, float, float]:
    """Make mu, sigma, eps and y for which every wrong formula differs from the right one."""
    mu, y = (2 * torch.randn(2)).tolist()
    sigma = 0.4 + torch.rand(()).item() / 3
    return mu, sigma, 1.3 + torch.rand(()).item(), y


def toy(mu: float, sigma: float, eps: float, y: float) -> torch.Tensor:
    """Compute the right gradients by mu and sigma, (2,)."""
    by_z = 2 * (mu + sigma * eps - y)
    return torch.tensor([by_z, by_z * eps]).double()


TOY_MISTAKES = (
    Mistake(
        "toy_factor_two",
        "Your gradients are half of what they should be. Check the derivative of the square.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) / 2,
    ),
    Mistake(
        "toy_sign",
        "Both of your gradients have the wrong sign: where z is above y, the loss grows with z.",
        lambda mu, sigma, eps, y: -toy(mu, sigma, eps, y),
    ),
    Mistake(
        "toy_sigma_without_eps",
        "Your dL/dsigma is the same as your dL/dmu. How far does z move when sigma grows a little?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y)[[0, 0]],
    ),
    Mistake(
        "toy_swapped",
        "The two gradients are swapped: dL/dmu comes first.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y).flip(0),
    ),
    Mistake(
        "toy_stops_at_z",
        "These are the derivatives of z. The chain rule has one more factor, from z to L.",
        lambda mu, sigma, eps, y: torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_times_sigma",
        "Your dL/dsigma is multiplied by sigma. What is sigma multiplied by in z?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y)[[0, 0]] * torch.tensor([1.0, sigma]),
    ),
    Mistake(
        "toy_at_mu",
        "Your gradients are computed at mu. The loss is computed at the sample z.",
        lambda mu, sigma, eps, y: toy(mu, 0.0, eps, y),
    ),
    Mistake(
        "toy_sigma_squared",
        "Your z uses σ². The argument is σ.",
        lambda mu, sigma, eps, y: toy(mu, sigma**2, eps, y),
    ),
    Mistake(
        "toy_sigma_sign",
        "Your dL/dsigma has the wrong sign. Your dL/dmu is right.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([1.0, -1.0]),
    ),
    Mistake(
        "toy_mu_sign",
        "Your dL/dmu has the wrong sign. Your dL/dsigma is right.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([-1.0, 1.0]),
    ),
    Mistake(
        "toy_sigma_halved",
        "Your dL/dsigma is half of what it should be. The factor 2 of the square belongs to both "
        "gradients.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([1.0, 0.5]),
    ),
    Mistake(
        "toy_mu_halved",
        "Your dL/dmu is half of what it should be. The factor 2 of the square belongs to both "
        "gradients.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([0.5, 1.0]),
    ),
    Mistake(
        "toy_sigma_eps_squared",
        "Your dL/dsigma contains eps twice. What is ∂z/∂sigma?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_mu_with_eps",
        "Your dL/dmu is multiplied by eps. How far does z move when mu grows a little?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y)[[1, 1]],
    ),
    Mistake(
        "toy_times_sigma",
        "Your dL/dsigma is multiplied by sigma, in addition to eps. What is ∂z/∂sigma?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([1.0, sigma]),
    ),
    Mistake(
        "toy_fixed_eps",
        "Your gradients use 0.5, the eps of the worked example, in place of the argument eps.",
        lambda mu, sigma, eps, y: toy(mu, sigma, EXAMPLE[2], y),
    ),
    Mistake(
        "toy_times_mu",
        "Your dL/dmu is multiplied by mu. What is ∂z/∂mu?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y) * torch.tensor([mu, 1.0]),
    ),
    Mistake(
        "toy_times_z",
        "Your dL/dsigma is multiplied by z. What is ∂z/∂sigma?",
        lambda mu, sigma, eps, y: (
            toy(mu, sigma, eps, y)[[0, 0]] * torch.tensor([1.0, mu + sigma * eps])
        ),
    ),
    Mistake(
        "toy_without_eps_in_z",
        "Your z does not contain eps: it is mu + sigma.",
        lambda mu, sigma, eps, y: toy(mu, sigma, 1.0, y)[[0, 0]] * torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_sigma_added",
        "Your z is mu + sigma + eps: sigma should multiply eps.",
        lambda mu, sigma, eps, y: toy(mu + sigma, 1.0, eps, y),
    ),
    Mistake(
        "toy_sign_of_y",
        "You add y to z. The loss is the square of the difference z − y.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, -y),
    ),
    Mistake(
        "toy_sign_of_mu",
        "A sign is wrong in your difference: with y − z, z = mu + sigma · eps needs brackets.",
        lambda mu, sigma, eps, y: -toy(mu, -sigma, eps, y),
    ),
    Mistake(
        "toy_not_differentiated",
        "You multiply by the loss (z − y)² where its derivative by z is needed.",
        lambda mu, sigma, eps, y: (mu + sigma * eps - y) ** 2 * torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_not_differentiated",
        "You multiply by 2 (z − y)² where 2 (z − y) is needed: the derivative has no square.",
        lambda mu, sigma, eps, y: 2 * (mu + sigma * eps - y) ** 2 * torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_not_differentiated",
        "You return the loss (z − y)² itself. Return its derivatives.",
        lambda mu, sigma, eps, y: (mu + sigma * eps - y) ** 2 * torch.ones(2),
    ),
    Mistake(
        "toy_absolute",
        "Your gradients use |z − y|. A gradient is negative where the loss falls.",
        lambda mu, sigma, eps, y: abs(2 * (mu + sigma * eps - y)) * torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_rounded",
        "Your gradients are whole numbers: you round them. Return them unchanged.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y).round(),
    ),
    Mistake(
        "toy_rounded",
        "Your gradients are whole numbers: `int` cuts off the decimals. Return them unchanged.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y).trunc(),
    ),
    Mistake(
        "toy_returns_inputs",
        "You return mu and sigma themselves. After `backward`, the gradients are in `.grad`.",
        lambda mu, sigma, eps, y: torch.tensor([mu, sigma]),
    ),
    Mistake(
        "toy_constant",
        "You return the numbers of the worked example for all inputs.",
        lambda mu, sigma, eps, y: toy(*EXAMPLE),
    ),
)


@check("toy_gradients")
def test_worked_example(submission: Submission) -> None:
    """At mu = 2, sigma = 1, eps = 0.5, y = 3 the gradients are −1 and −0.5."""
    expect_close(gradients(submission, *EXAMPLE), toy(*EXAMPLE), "The pair of gradients")


@check("toy_gradients")
def test_gradients_of_floats(submission: Submission) -> None:
    """Both gradients are right for other floats too."""
    for _ in range(3):
        inputs = toy_inputs()
        try:
            got = gradients(submission, *inputs)
        except Raised as error:
            if error.kind not in ("AttributeError", "TypeError"):
                raise
            fail(f"With plain floats, your code raised {error}. Does it need a tensor?", "no_float")
        expect_close(got, toy(*inputs), "The pair of gradients", inputs, TOY_MISTAKES)


@check("toy_gradients")
def test_gradients_of_tensors(submission: Submission) -> None:
    """For tensors of shape () the gradients are the same as for floats."""
    for _ in range(3):
        inputs = toy_inputs()
        got = gradients(submission, *map(torch.tensor, inputs))
        expect_close(got, toy(*inputs), "The pair of gradients", inputs, TOY_MISTAKES)


# KL divergence


def by_rows(submission: Submission) -> Pair:
    """Return the submission's `kl_divergence`; it expects one value for each row."""

    def called(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        got = submission.object("kl_divergence")(mu, logvar)
        rows, latents = mu.shape
        names = ("kl_reduced", "kl_not_summed")
        return expect_one_each(got, rows, "`kl_divergence(mu, logvar)`", names, latents)

    return called


FAMILIES = (kl_checks("kl_divergence", by_rows, LOGVAR, EACH_IMAGE, tolerance=1e-5),)


@check("kl_divergence")
def test_kl_shape(submission: Submission) -> None:
    """For mu and logvar (N, Z) the KL has one value for each row, (N,), also for one row."""
    for n, latent_dim in ((7, 5), (4, 13), (1, 6), (3, 1)):
        by_rows(submission)(*LOGVAR.posterior(n, latent_dim))


@check("kl_divergence")
def test_kl_keeps_its_inputs(submission: Submission) -> None:
    """The tensors mu and logvar do not change during the call."""
    mu, logvar = LOGVAR.posterior(5, 4)
    expect_inputs_kept(submission, "kl_divergence", {"mu": mu, "logvar": logvar})
