"""What `00_reparameterization` is graded on."""

import math
from typing import Any

import torch
from torch.distributions import Normal

from autograder.checks.shared.gaussian import KL_MISTAKES
from autograder.checks.shared.gaussian import kl_divergence as mean_kl
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
    return expect_tensor(z, inputs[0].shape, "`reparameterize(mu, sigma, eps)`")


def parameters(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means of both signs and standard deviations on both sides of 1."""
    return 1.5 * torch.randn(shape), 0.3 + 2 * torch.rand(shape)


@check("reparameterize")
def test_given_noise_is_used(submission: Submission) -> None:
    """The same eps gives the same z, and another eps gives another z."""
    mu, sigma = parameters(6, 3)
    eps, other = torch.randn(6, 3), torch.randn(6, 3)
    first, again, moved = (reparameterize(submission, mu, sigma, e) for e in (eps, eps, other))
    expect(
        torch.equal(first, again),
        "Two calls with the same mu, sigma and eps give two different draws. The noise is passed "
        "in: nothing else here should be random.",
        "own_noise",
    )
    expect(
        not torch.equal(first, moved),
        "z stays the same when eps changes. Is the eps that you are given used?",
        "eps_ignored",
    )


DRAW_MISTAKES = (
    Mistake(
        "mu_dropped",
        "Your z is always centred on 0: mu is not in it.",
        lambda mu, sigma, eps: sigma * eps,
    ),
    Mistake(
        "sigma_squared",
        "Your noise is stretched by σ². The argument is σ, and a draw is stretched by σ itself.",
        lambda mu, sigma, eps: mu + sigma**2 * eps,
    ),
    Mistake(
        "sigma_read_as_logvar",
        "Your z is what you get when sigma is read as log σ². Here it is σ itself.",
        lambda mu, sigma, eps: mu + torch.exp(0.5 * sigma) * eps,
    ),
    Mistake(
        "sigma_read_as_log_sigma",
        "Your z is what you get when sigma is read as log σ. Here it is σ itself.",
        lambda mu, sigma, eps: mu + torch.exp(sigma) * eps,
    ),
    Mistake(
        "sigma_read_as_variance",
        "Your z is what you get when sigma is read as a variance. Here it is σ itself.",
        lambda mu, sigma, eps: mu + sigma.sqrt() * eps,
    ),
    Mistake(
        "no_sampling",
        "Your z is mu itself: there is no noise in it.",
        lambda mu, sigma, eps: mu,
    ),
    Mistake(
        "eps_ignored",
        "Your z moves by sigma whatever eps is.",
        lambda mu, sigma, eps: mu + sigma,
    ),
    Mistake(
        "no_sigma",
        "Your noise is not scaled: sigma is not in z.",
        lambda mu, sigma, eps: mu + eps,
    ),
    Mistake(
        "mu_and_sigma_swapped",
        "mu and sigma have changed places: one of them shifts, the other stretches.",
        lambda mu, sigma, eps: sigma + mu * eps,
    ),
    Mistake(
        "mu_scaled",
        "sigma stretches mu as well: only the noise should be stretched.",
        lambda mu, sigma, eps: (mu + eps) * sigma,
    ),
    Mistake(
        "noise_subtracted",
        "Your z lies as far from mu as it should, but on the other side.",
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
)


@check("reparameterize")
def test_draw_value(submission: Submission) -> None:
    """The draw z is the noise eps, stretched by sigma and shifted by mu, in any shape."""
    for shape in ((5, 4), (1, 3), (6,), ()):
        mu, sigma = parameters(*shape)
        inputs = (mu, sigma, torch.randn(shape))
        right = mu + sigma * inputs[2]
        expect_close(reparameterize(submission, *inputs), right, "z", inputs, DRAW_MISTAKES)


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
    """The tensors mu, sigma and eps are the same after the call as before."""
    mu, sigma = parameters(6, 3)
    inputs = {"mu": mu, "sigma": sigma, "eps": torch.randn(6, 3)}
    expect_inputs_kept(submission, "reparameterize", inputs)


# Gradients by hand

EXAMPLE = (2.0, 1.0, 0.5, 3.0)


def gradients(submission: Submission, *inputs: Any) -> torch.Tensor:
    """Call the submission's `toy_gradients` and expect two numbers; returns them as (2,)."""
    got = submission.object("toy_gradients")(*inputs)
    if isinstance(got, torch.Tensor) and got.shape == (2,):
        got = tuple(got)
    expect(
        isinstance(got, tuple) and len(got) == 2,
        f"`toy_gradients` should return the two values (dL/dmu, dL/dsigma), got {kind(got)}.",
    )
    numbers = [torch.tensor(g).double() if isinstance(g, int | float) else g for g in got]
    names = ("`dL/dmu`", "`dL/dsigma`")
    return torch.stack([expect_tensor(g, (), n) for g, n in zip(numbers, names, strict=True)])


def toy_inputs() -> tuple[float, float, float, float]:
    """Make mu, sigma, eps and y that keep every wrong formula away from the right one."""
    mu, y = (2 * torch.randn(2)).tolist()
    sigma = 0.4 + torch.rand(()).item() / 3
    return mu, sigma, 1.3 + torch.rand(()).item(), y


def toy(mu: float, sigma: float, eps: float, y: float) -> torch.Tensor:
    """The right gradients by mu and sigma, (2,)."""
    by_z = 2 * (mu + sigma * eps - y)
    return torch.tensor([by_z, by_z * eps]).double()


TOY_MISTAKES = (
    Mistake(
        "toy_factor_two",
        "Your gradients are half of what they should be: look at the derivative of the square.",
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
        "The two gradients have changed places: dL/dmu comes first.",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y).flip(0),
    ),
    Mistake(
        "toy_stops_at_z",
        "These are the derivatives of z. The chain rule has one more factor, from z to L.",
        lambda mu, sigma, eps, y: torch.tensor([1.0, eps]),
    ),
    Mistake(
        "toy_times_sigma",
        "Your dL/dsigma is multiplied by sigma: what stands beside sigma in z?",
        lambda mu, sigma, eps, y: toy(mu, sigma, eps, y)[[0, 0]] * torch.tensor([1.0, sigma]),
    ),
    Mistake(
        "toy_at_mu",
        "Your gradients are taken at mu in place of z: the loss is measured where the draw fell.",
        lambda mu, sigma, eps, y: toy(mu, 0.0, eps, y),
    ),
    Mistake(
        "toy_sigma_squared",
        "Your z is stretched by σ². The argument is σ.",
        lambda mu, sigma, eps, y: toy(mu, sigma**2, eps, y),
    ),
    Mistake(
        "toy_constant",
        "You return the numbers of the worked example whatever the inputs are.",
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
    """Tensors of shape () give the same gradients as floats."""
    for _ in range(3):
        inputs = toy_inputs()
        got = gradients(submission, *map(torch.tensor, inputs))
        expect_close(got, toy(*inputs), "The pair of gradients", inputs, TOY_MISTAKES)


# KL divergence


def posterior(n: int, latent_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make means and log-variances of both signs, (n, latent_dim) each."""
    return 1.5 * torch.randn(n, latent_dim), torch.randn(n, latent_dim)


def by_rows(submission: Submission, mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """Call the submission's `kl_divergence` and expect one value for each row."""
    got = submission.object("kl_divergence")(mu, logvar)
    rows, latents = mu.shape
    shape = tuple(got.shape) if isinstance(got, torch.Tensor) else None
    due = f"For mu of shape ({rows}, {latents}), the KL should have shape ({rows},)."
    expect(
        shape != () and not isinstance(got, float),
        f"Your KL is one number for the whole batch: keep one for each row. {due}",
        "kl_reduced",
    )
    expect(
        shape != (rows, latents),
        f"Your KL still has a value for each latent: the latents of a row belong together. {due}",
        "kl_not_summed",
    )
    expect(
        shape != (latents,) or rows == latents,
        f"Your KL has one value for each latent: the rows are reduced, not the latents. {due}",
        "kl_wrong_axis",
    )
    return expect_tensor(got, (rows,), "`kl_divergence(mu, logvar)`")


def closed_form(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, σ²) ‖ N(0, I)) for each row, (N,), in float64."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).double().sum(1)


def row_by_row(mistake: Mistake) -> Mistake:
    """Make a mistake in a batch's mean KL one in each row's: a row is a batch of one."""

    def formula(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [mistake.formula(m[None], v[None]) for m, v in zip(mu, logvar, strict=True)]
        )

    return Mistake(mistake.name, mistake.says, formula)


ABOUT_BATCHES = ("kl_dropped", "kl_not_averaged", "kl_divided_twice", "kl_mean_of_everything")
ROW_MISTAKES = (
    *(row_by_row(mistake) for mistake in KL_MISTAKES if mistake.name not in ABOUT_BATCHES),
    Mistake(
        "kl_divided_by_rows",
        "Your KL is divided by the number of rows. Each row has a KL of its own.",
        lambda mu, logvar: closed_form(mu, logvar) / len(mu),
    ),
    Mistake(
        "kl_same_for_all",
        "Every row gets the mean of all rows' KL.",
        lambda mu, logvar: mean_kl(mu, logvar).expand(len(mu)),
    ),
    Mistake(
        "logvar_read_as_sigma",
        "Your KL is what you get when logvar is read as σ. It is log σ².",
        lambda mu, logvar: closed_form(mu, (logvar**2).log()),
    ),
    Mistake(
        "kl_without_constant",
        "Your KL is too large by ½ for each latent: it should be 0 at N(0, I).",
        lambda mu, logvar: closed_form(mu, logvar) + 0.5 * mu.shape[1],
    ),
    Mistake(
        "kl_without_mu",
        "Your KL does not change with mu.",
        lambda mu, logvar: closed_form(torch.zeros_like(mu), logvar),
    ),
    Mistake(
        "kl_without_log",
        "Your KL has no log σ² in it: nothing keeps σ from going to zero.",
        lambda mu, logvar: closed_form(mu, logvar) + 0.5 * logvar.sum(1),
    ),
    Mistake(
        "kl_reversed",
        "Your KL is that of N(0, I) from q. It is the other way round: the mean is taken over q.",
        lambda mu, logvar: 0.5 * (logvar + (1 + mu**2) / logvar.exp() - 1).sum(1),
    ),
    Mistake(
        "kl_only_entropy",
        "Your KL has no prior in it: only the posterior's own entropy is there, constants and all.",
        lambda mu, logvar: -0.5 * (1 + math.log(2 * math.pi) + logvar).sum(1),
    ),
)


@check("kl_divergence")
def test_kl_shape(submission: Submission) -> None:
    """Means and log-variances (N, Z) give one value for each row, (N,), one row alone included."""
    for n, latent_dim in ((7, 5), (4, 13), (1, 6), (3, 1)):
        by_rows(submission, *posterior(n, latent_dim))


@check("kl_divergence")
def test_kl_of_the_prior(submission: Submission) -> None:
    """The KL of N(0, I) from itself is 0."""
    at_prior = torch.zeros(4, 3)
    got = by_rows(submission, at_prior, at_prior)
    expect_close(got, torch.zeros(4), "The KL at mu = 0 and logvar = 0", tolerance=1e-5)


@check("kl_divergence")
def test_kl_value(submission: Submission) -> None:
    """Each row's KL is that of the closed form, to within 1e-5 of the largest."""
    for n, latent_dim in ((5, 4), (1, 3), (3, 20)):
        inputs = posterior(n, latent_dim)
        got, right = by_rows(submission, *inputs), closed_form(*inputs)
        expect_close(got, right, "The KL", inputs, ROW_MISTAKES, tolerance=1e-5)


DRAWS = 200_000
STANDARD_ERRORS = 6.0


@check("kl_divergence")
def test_kl_by_counting(submission: Submission) -> None:
    """The KL is the mean of log q(z) − log p(z) over draws from q, within six standard errors.

    The mean of so many draws is as good as Gaussian, and a Gaussian strays by more than six
    standard errors twice in a thousand million times: over four rows, a right solution fails less
    than once in ten million runs.
    """
    mu, logvar = posterior(4, 3)
    got = by_rows(submission, mu, logvar)
    q, p = Normal(mu.double(), (0.5 * logvar).exp().double()), Normal(0.0, 1.0)
    z = q.sample((DRAWS,))
    gaps = (q.log_prob(z) - p.log_prob(z)).sum(-1)
    means, errors = gaps.mean(0), gaps.std(0) / DRAWS**0.5
    for value, mean, error in zip(got.tolist(), means.tolist(), errors.tolist(), strict=True):
        bound = STANDARD_ERRORS * error
        expect(
            abs(value - mean) <= bound,
            f"{DRAWS:,} draws put the KL of one row at {mean:.3f} ± {bound:.3f}; yours is "
            f"{value:.3f}.",
        )


@check("kl_divergence")
def test_kl_gradients(submission: Submission) -> None:
    """Gradients reach both: they are mu and (σ² − 1) / 2."""
    mu, logvar = (p.requires_grad_() for p in posterior(5, 4))
    got = by_rows(submission, mu, logvar)
    by_mu, by_logvar = expect_grad(got, {"mu": mu, "logvar": logvar}, "the KL", "kl_detached")
    expect_close(by_mu, mu.detach(), "The gradient of the KL by mu")
    expect_close(by_logvar, (logvar.detach().exp() - 1) / 2, "The gradient of the KL by logvar")


@check("kl_divergence")
def test_kl_keeps_its_inputs(submission: Submission) -> None:
    """The tensors mu and logvar are the same after the call as before."""
    mu, logvar = posterior(5, 4)
    expect_inputs_kept(submission, "kl_divergence", {"mu": mu, "logvar": logvar})
