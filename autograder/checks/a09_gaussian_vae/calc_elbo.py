"""Measure each step of a Gaussian VAE's `calc_elbo`, with stubs for its encoder and decoder.

The encoder's stub reads mu and log σ from the first pixels of a 28 × 28 image, which are
(value + 8) / 16: every posterior is possible, and every pixel stays in [0, 1]. The decoder's stub
is called with the sampled code.
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checks.shared.calls import expect_called
from autograder.checks.shared.in_parts import call_in_parts, raised_key
from autograder.checks.shared.kl import Pair, kl_term
from autograder.checks.shared.likelihood import GAUSSIAN, greys, reconstruction_mistakes
from autograder.checks.shared.loss_terms_fit import expect_density
from autograder.checks.shared.parameterization import EACH_IMAGE, LOGSIGMA, expect_one_each
from autograder.checks.shared.parts import fill, model_or_bare
from autograder.checks.shared.sampling import NO_GRADIENT, Sampler
from autograder.checks.vocabulary import (
    CheckFailed,
    close,
    difference,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

PIXELS = 28 * 28
IMAGE = (1, 28, 28)
CODE = "The code z that `calc_elbo` decodes"
RECON_MISTAKES = reconstruction_mistakes(GAUSSIAN, EACH_IMAGE)
# At this σ_x all terms of the density differ. At σ_x = 1 three incorrect formulas are correct.
SIGMA_X = 0.3
RANGE, FINE = 16.0, 1e4
HIDDEN = (
    "The code z cannot be tested: `calc_elbo` calls neither `self.decoder` nor one of its layers "
    "with it. Sample z, and decode it by `self.decoder`."
)
WIDEST = 200
THREE_VALUES = "`calc_elbo` should return the three values (neg_elbo, recon, kl), got {}."
TERMS = frozenset({"reconstruction", "kl_divergence"})
SHARED_ERROR = (
    "In `calc_elbo`, the sample and the KL have one error in common: σ is wrong, or mu and "
    "logsigma are exchanged. It costs the points of the sample only. The KL is right apart from "
    "that."
)
NO_DECODER = (
    "No gradient passes through `self.decoder` to the negative ELBO. Is it called without "
    "gradients, or is its output detached, or not used?"
)
# The key in `Submission.kept` that says that `calc_elbo` does not call `self.decoder`.
UNSEEN = "decoder_unseen"


def any_vae(submission: Submission, latent_dim: int = 5, sigma_x: float = SIGMA_X) -> RemoteObject:
    """Make a model to test its methods only: parts that cannot be made are skipped."""
    return model_or_bare(
        submission, "VAE", latent_dim, sigma_x, latent_dim=latent_dim, sigma_x=sigma_x
    )


def with_posterior(mu: torch.Tensor, logsigma: torch.Tensor, values: float = RANGE) -> torch.Tensor:
    """Return images (N, 1, 28, 28) from which the encoder's stub reads mu and logsigma.

    Args:
        mu: The means, (N, Z).
        logsigma: The logarithms of the standard deviations, (N, Z).
        values: The range of values of the pixels from 0 to 1.
    """
    shown = torch.cat([mu, logsigma], 1) / values + 0.5
    rest = torch.full((len(mu), PIXELS - shown.shape[1]), 0.9)
    return torch.cat([shown, rest], 1).unflatten(1, IMAGE)


def plug_encoder(vae: RemoteObject, latent_dim: int, values: float = RANGE) -> None:
    """Replace a model's encoder by a stub that reads mu and logsigma from the pixels."""
    pixels = values * torch.eye(PIXELS)
    vae.set_stub(
        "encoder",
        Affine([pixels[:, :latent_dim]], bias=-values / 2),
        Affine([pixels[:, latent_dim : 2 * latent_dim]], bias=-values / 2),
        names=("x",),
    )


def plug_decoder(vae: RemoteObject, weights: torch.Tensor) -> None:
    """Replace a model's decoder by the sigmoid of a linear map, weights (Z, 784), of the code."""
    vae.set_stub("decoder", Affine([weights], IMAGE), squash=True, names=("z",))


def plug_blind_decoder(vae: RemoteObject, latent_dim: int) -> None:
    """Replace a model's decoder by a stub that returns grey for every code."""
    plug_decoder(vae, torch.zeros(latent_dim, PIXELS))


def values(vae: RemoteObject, x: torch.Tensor) -> tuple[Any, ...]:
    """Call `calc_elbo` and expect several values; see `in_parts` for one that raises."""
    got = call_in_parts(vae, "VAE", "calc_elbo", x)
    expect(isinstance(got, tuple) and len(got) in (2, 3), THREE_VALUES.format(kind(got)))
    return tuple(got)


def expect_three_values(vae: RemoteObject, x: torch.Tensor) -> None:
    """Expect that `calc_elbo` returns three values."""
    got = values(vae, x)
    expect(len(got) == 3, THREE_VALUES.format(kind(got)), "value_missing")


def terms(vae: RemoteObject, x: torch.Tensor) -> tuple[Any, Any, Any]:
    """Return (neg_elbo, recon, kl), in whichever order `calc_elbo` returns them.

    If only two are returned, the third is their sum or their difference. The check of the sum
    reports this error.
    """
    got = values(vae, x)
    if len(got) == 3:
        first, second, third = order_of(vae.submission)
        return got[first], got[second], got[third]
    total, recon, divergence = order_of(vae.submission, 2)
    one, two = (value if isinstance(value, torch.Tensor) else torch.zeros(()) for value in got)
    both = (one, two)
    if total < 0:
        return one + two, both[recon], both[divergence]
    if recon < 0:
        return both[total], both[total] - both[divergence], both[divergence]
    return both[total], both[recon], both[total] - both[recon]


def order_of(submission: Submission, count: int = 3) -> tuple[int, int, int]:
    """Find out where `calc_elbo` returns neg_elbo, recon and kl; (0, 1, 2) is right.

    Another order is one error. The check of the sum reports it, and the two terms are judged in
    the order that was found. The KL alone does not change with the pixels and with the noise.

    Args:
        submission: The submission.
        count: How many values it returns: three, or two. Then the place of the missing one is −1.
    """
    if "order" not in submission.kept:
        submission.kept["order"] = (0, 1, 2) if count == 3 else (-1, 0, 1)
        with contextlib.suppress(CheckFailed, Raised):
            submission.kept["order"] = _found_order(submission)
    order: tuple[int, int, int] = submission.kept["order"]
    return order


def _found_order(submission: Submission) -> tuple[int, int, int]:
    n, latents, sigma_x = 5, 5, 2.0
    vae = any_vae(submission, latents, sigma_x)
    weights = 0.1 * torch.randn(latents, PIXELS)
    plug_encoder(vae, latents)
    plug_decoder(vae, weights)
    mu, logsigma = 2 + torch.rand(n, latents), -torch.rand(n, latents)
    x, other = with_posterior(mu, logsigma), with_posterior(mu, logsigma)
    other.flatten(1)[:, 2 * latents :] = 0.2
    given = [values(vae, shown) for shown in (other, x, other)]
    count = len(given[0])
    unknown = (0, 1, 2) if count == 3 else (-1, 0, 1)
    if not all(isinstance(v, torch.Tensor) and v.shape == (n,) for got in given for v in got):
        return unknown
    found, others = ([value.double() for value in got] for got in given[1:])
    fixed = [i for i in range(count) if torch.allclose(found[i], others[i], rtol=1e-5)]
    if count == 2:
        return _order_of_two(vae, found, fixed, x, mu, logsigma, weights, sigma_x)
    if len(fixed) != 1:
        return 0, 1, 2
    (kl,) = fixed
    one, two = (i for i in range(3) if i != kl)

    def is_sum(total: int, term: int) -> bool:
        return torch.allclose(found[total], found[term] + found[kl], rtol=1e-5)

    if kl != 2:
        return (two, one, kl) if is_sum(two, one) else (one, two, kl)
    # Also a KL that is subtracted fits these sums: the right term decides.
    z = vae.decoder.seen()[n : 2 * n].double()
    if z.shape != (n, latents):
        return 0, 1, 2
    mean = (z @ weights.double()).sigmoid().unflatten(1, IMAGE)
    right = GAUSSIAN.term(EACH_IMAGE, mean, x.double(), sigma_x)
    swapped = torch.allclose(found[0], right, rtol=1e-4) and is_sum(1, 0)
    return (1, 0, 2) if swapped else (0, 1, 2)


def _order_of_two(
    vae: RemoteObject,
    found: list[torch.Tensor],
    fixed: list[int],
    x: torch.Tensor,
    mu: torch.Tensor,
    logsigma: torch.Tensor,
    weights: torch.Tensor,
    sigma_x: float,
) -> tuple[int, int, int]:
    """Return the places of two values, −1 for the missing one; see `order_of`."""
    if len(fixed) != 1:
        # The KL is missing. It is positive, so the larger value is the sum.
        total = 0 if float((found[0] - found[1]).mean()) > 0 else 1
        return total, 1 - total, -1
    (kl,) = fixed
    z = vae.decoder.seen()[len(x) : 2 * len(x)].double()
    if z.shape != mu.shape:
        return -1, 1 - kl, kl
    mean = (z @ weights.double()).sigmoid().unflatten(1, IMAGE)
    recon = GAUSSIAN.term(EACH_IMAGE, mean, x.double(), sigma_x)
    right_sum = recon + kl_term(mu, logsigma, LOGSIGMA, EACH_IMAGE)
    is_total = (found[1 - kl] - right_sum).abs().mean() < (found[1 - kl] - recon).abs().mean()
    return (1 - kl, -1, kl) if bool(is_total) else (-1, 1 - kl, kl)


def decoded(vae: RemoteObject, n: int, latent_dim: int) -> torch.Tensor:
    """Return the codes that `calc_elbo` decoded, one for each image, (n, Z)."""
    z = vae.decoder.seen()
    error = vae.submission.kept.get(raised_key("VAE", "calc_elbo"))
    if not len(z):
        if error:
            raise error
        expect_called(vae, ("encoder", "decoder"), "calc_elbo")
    if error:
        z = z[-n:]  # after the call that raised an exception, it was called in parts
    if len(z) > n and len(z) % n == 0 and all(torch.equal(z[:n], again) for again in z.split(n)):
        z = z[:n]
    return expect_tensor(z, (n, latent_dim), CODE)


def decoded_for_recon(vae: RemoteObject, n: int) -> torch.Tensor:
    """Return the codes that `calc_elbo` decoded, (n, 5), or keep that it calls no decoder."""
    try:
        return decoded(vae, n, 5)
    except CheckFailed as verdict:
        if verdict.mistake == "part_not_called":
            vae.submission.kept[UNSEEN] = True
        raise


def expect_recon(vae: RemoteObject, n: int, sigma_x: float) -> None:
    """Expect the negative log-density of images around the decoder's output for their codes."""
    # The means are well inside (0, 1), so that a cross-entropy differs from other mistakes.
    weights = 0.1 * torch.randn(5, PIXELS)
    plug_encoder(vae, 5)
    plug_decoder(vae, weights)
    x = with_posterior(2 * torch.randn(n, 5), torch.full((n, 5), -0.8))
    x.flatten(1)[:, 10:] = greys(n, PIXELS - 10)
    recon = expect_one_each(terms(vae, x)[1], n, "The second value, `recon`,")
    z = decoded_for_recon(vae, n)
    mean = (z @ weights.double()).sigmoid().unflatten(1, IMAGE)
    inputs = (mean, x.double(), sigma_x)
    right = GAUSSIAN.term(EACH_IMAGE, *inputs)
    expect_close(
        recon,
        right,
        "The reconstruction term",
        inputs,
        RECON_MISTAKES,
        otherwise=lambda: explain_recon(vae.submission),
    )


def explain_recon(submission: Submission) -> None:
    """Explain a reconstruction term that no known mistake computes, from its values at some σ_x.

    Raises:
        CheckFailed: If it is a sum of the three terms of the density with other weights.
    """
    squares, logs, recons = [], [], []
    for sigma_x in (0.2, 0.5, 1.5, 3.0):
        vae = any_vae(submission, 5, sigma_x)
        weights = 0.1 * torch.randn(5, PIXELS)
        plug_encoder(vae, 5)
        plug_decoder(vae, weights)
        x = with_posterior(torch.randn(5, 5), torch.full((5, 5), -0.8))
        x.flatten(1)[:, 10:] = greys(5, PIXELS - 10)
        recons.append(expect_one_each(terms(vae, x)[1], 5, "`recon`"))
        mean = (decoded(vae, 5, 5) @ weights.double()).sigmoid().unflatten(1, IMAGE)
        squares.append(((x.double() - mean) / sigma_x).square().flatten(1).sum(1))
        logs.append(torch.full((5,), PIXELS * math.log(sigma_x), dtype=torch.float64))
    expect_density(torch.cat(recons), torch.cat(squares), torch.cat(logs), PIXELS)


def called_kl(submission: Submission) -> Pair:
    """Return the third value of the submission's `calc_elbo`, as a function of mu and logsigma."""

    def called(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        n, latent_dim = mu.shape
        vae = any_vae(submission, latent_dim)
        plug_encoder(vae, latent_dim)
        plug_blind_decoder(vae, latent_dim)
        value = terms(vae, with_posterior(mu, logsigma))[2]
        return expect_one_each(value, n, "The third value, `kl`,", width=mu.shape[1])

    return as_sampled(submission, called)


# Wrong readings of logsigma: functions from logsigma to the σ that a submission uses.
READINGS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda v: (0.5 * v).exp(),
    lambda v: (2 * v).exp(),
    lambda v: (-v).exp(),
    lambda v: v.exp().clamp(max=1),
    F.softplus,
)


def as_sampled(submission: Submission, kl: Pair) -> Pair:
    """Return a KL as it is with the right σ, if one wrong σ is used for the sample and for the KL.

    One error costs one task: here that of the sample. The same holds for mu and log σ that are
    exchanged where the encoder is called. Nothing else in the KL is changed.

    Args:
        submission: The submission.
        kl: Its KL, a function of mu and log σ.

    Returns:
        The KL to judge: the submission's own one, unless it is wrong in exactly this way, and its
        sample too.
    """
    if "shared_error" not in submission.kept:
        submission.kept["shared_error"] = None
        with contextlib.suppress(CheckFailed, Raised):
            found = _shared_error(submission, kl)
            submission.kept["shared_error"] = found
            if found:
                submission.remark(SHARED_ERROR)
    corrected: Callable[[Pair], Pair] | None = submission.kept["shared_error"]
    return corrected(kl) if corrected else kl


def _shared_error(submission: Submission, kl: Pair) -> Callable[[Pair], Pair] | None:
    """Return how a KL is corrected for an error that the sample has too; None if it has none."""
    mu, logsigma = LOGSIGMA.posterior(5, 5)
    got = kl(mu, logsigma)
    if close(got, _right_kl(mu, logsigma)):
        return None
    if close(got, _right_kl(logsigma, mu)):
        same = _samples_like(submission, lambda mu, value: (value, mu.exp()))
        return _exchanged if same else None
    for reading in READINGS:
        for own_log in (True, False):
            wrong = _kl_of_reading(reading, own_log)
            read = functools.partial(_moments, reading)
            if close(got, wrong(mu, logsigma)) and _samples_like(submission, read):
                return functools.partial(_corrected, wrong)
    return None


def _moments(
    reading: Callable[[torch.Tensor], torch.Tensor], mu: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return mu, reading(value)


def _exchanged(kl: Pair) -> Pair:
    return lambda mu, value: kl(value, mu)


def _kl_of_reading(reading: Callable[[torch.Tensor], torch.Tensor], own_log: bool) -> Pair:
    """Return the KL with a wrong σ; with `own_log`, its logarithm is that of the wrong σ too."""

    def wrong(mu: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        mu, value = mu.double(), value.double()
        sigma = reading(value)
        log = sigma.log() if own_log else value
        return (0.5 * (mu**2 + sigma**2 - 1) - log).sum(1)

    return wrong


def _corrected(wrong: Pair, kl: Pair) -> Pair:
    """Return a KL without the difference between a known wrong KL and the right one."""
    return lambda mu, value: kl(mu, value) + _right_kl(mu, value) - wrong(mu, value)


def _right_kl(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
    return kl_term(mu, logsigma, LOGSIGMA, EACH_IMAGE)


def _samples_like(
    submission: Submission,
    moments: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> bool:
    """Return whether z has this mean and this standard deviation, given mu and log σ."""
    sampled = sampler(submission, True)
    for mu, sigma in ((1.0, 3.0), (-1.0, 0.5)):
        given = torch.tensor(mu), torch.tensor(sigma).log()
        z = sampled(*(value.expand(10_000, 2) for value in given))
        mean, deviation = (float(value) for value in moments(*given))
        if abs(float(z.std()) - deviation) > 0.05 * deviation:
            return False
        if abs(float(z.mean()) - mean) > 0.1 * deviation:
            return False
    return True


def sampler(submission: Submission, train: bool) -> Sampler:
    """Return the decoder's input in `calc_elbo`, as a function of mu and logsigma of any shape."""

    def sampled(mu: torch.Tensor, logsigma: torch.Tensor) -> torch.Tensor:
        # Many rows of few latents become fewer images with longer codes.
        width = WIDEST if mu.numel() > 10_000 else mu.shape[1]
        mu_rows, logsigma_rows = mu.reshape(-1, width), logsigma.reshape(-1, width)
        x = with_posterior(mu_rows, logsigma_rows)
        vae = encoding_vae(submission, width, train)
        if UNSEEN in submission.kept:
            return hidden(vae, x, width).view_as(mu)
        plug_blind_decoder(vae, width)
        raised = None
        try:
            terms(vae, x)
        except Raised as error:
            # A term of the wrong shape cannot be added. Its own task has lost its points.
            if not TERMS & submission.failed:
                raise
            raised = error
        if raised and not len(vae.decoder.seen()):
            raise raised
        return decoded(vae, *mu_rows.shape).view_as(mu)

    return sampled


def encoding_vae(submission: Submission, width: int, train: bool) -> RemoteObject:
    """Make a model with the encoder's stub, in training or in eval mode."""
    vae = any_vae(submission, width)
    if train:
        vae.train()
    else:
        vae.eval()
    plug_encoder(vae, width)
    return vae


def hidden(vae: RemoteObject, x: torch.Tensor, width: int) -> torch.Tensor:
    """Return the codes that the submission's own decoder gets, if no stub can take its place.

    The task of the reconstruction term has lost its points for this. A sample is right or wrong
    also if the decoder, or its first layer, is called under another name.

    Args:
        vae: A model with the encoder's stub.
        x: Images, (N, 1, 28, 28).
        width: The number of latents, Z.

    Raises:
        CheckFailed: If no code can be seen.
    """
    try:
        z = vae.calc_elbo.entered("decoder", x)
    except Raised:
        raise CheckFailed(HIDDEN, "part_not_called") from None
    return expect_tensor(z, (len(x), width), CODE)


# There are as many images as latents: a KL that is not summed can then be added to the other term.
# Gradients are tested without a formula of the two terms: an error in a term loses the points of
# its own task only.


def expect_gradient_through_sample(submission: Submission) -> None:
    """Expect ∂z/∂mu = 1 and ∂z/∂log σ = z − mu.

    At the prior the gradient of the KL is 0, and so is that of pixels at their means. The rest of
    the negative ELBO's gradient flows through z. An incorrect term may have other gradients there.
    Then those of a second call, with a decoder that ignores z, are subtracted.
    """
    if UNSEEN in submission.kept:
        expect_hidden_gradient(submission)
        return
    zeros = torch.zeros(3, 3)
    try:
        expect_slopes(*sample_gradients(submission, zeros, zeros), zeros)
    except CheckFailed:
        if not TERMS & submission.failed:
            raise
        mu, logsigma = 0.5 * torch.randn(3, 3), 0.3 * torch.randn(3, 3)
        by_mu, by_logsigma, z = sample_gradients(submission, mu, logsigma)
        if not len(by_mu):
            return
        blind_mu, blind_logsigma, _ = sample_gradients(submission, mu, logsigma, blind=True)
        expect_slopes(by_mu - blind_mu, by_logsigma - blind_logsigma, z, mu)


def expect_hidden_gradient(submission: Submission) -> None:
    """Expect that gradients reach mu and log σ through the submission's own decoder.

    The images contain mu and log σ too. Here a large step of them is a small one of the pixels, so
    that the gradients of the pixels themselves do not count.
    """
    vae = any_vae(submission, 5, 0.1)
    vae.decoder.give_sizes(torch.zeros(2, 5))
    fill(vae, 1.0)
    plug_encoder(vae, 5, FINE)
    mu, logsigma = (0.1 * torch.randn(20, 5).requires_grad_() for _ in range(2))
    recon = terms(vae, with_posterior(mu, logsigma, FINE))[1]
    by_mu, by_logsigma = expect_grad(recon, {"mu": mu, "logsigma": logsigma}, "`recon`", "detached")
    size = float(by_mu.abs().median())
    expect(size > 1e-3, NO_GRADIENT.format("mu"), "detached")
    off = float(by_logsigma.abs().median())
    expect(off > 0.05 * size, NO_GRADIENT.format("logsigma"), "detached")


def sample_gradients(
    submission: Submission, mu: torch.Tensor, logsigma: torch.Tensor, *, blind: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of the negative ELBO by mu and log σ, and z, (N, Z) each.

    If the sum cannot be computed because of an exception in one term, they are the gradients of the
    reconstruction term. They are empty if there is none.
    """
    latents = mu.shape[1]
    vae = any_vae(submission, latents, 0.02)
    plug_encoder(vae, latents)
    # The pixels that contain mu and logsigma stay grey for every z.
    weights = torch.randn(latents, PIXELS)
    weights[:, : 2 * latents] = 0
    plug_decoder(vae, 0 * weights if blind else weights)
    mu, logsigma = (value.clone().requires_grad_() for value in (mu, logsigma))
    total, recon, _ = terms(vae, with_posterior(mu, logsigma))
    if isinstance(total, Raised) and TERMS & submission.failed:
        if isinstance(recon, Raised):
            return torch.empty(0), torch.empty(0), torch.empty(0)
        total = recon
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(total, inputs, "the negative ELBO", "detached")
    z = decoded(vae, len(mu), latents)
    # Its gradient is 0 only if none passes through the decoder: the pixels are not at their means.
    reached = getattr(vae.decoder.biases, "0").grad.value()
    expect(isinstance(reached, torch.Tensor) and bool(reached.any()), NO_DECODER, "detached")
    return by_mu.double(), by_logsigma.double(), z


def expect_slopes(
    by_mu: torch.Tensor, by_logsigma: torch.Tensor, z: torch.Tensor, mu: torch.Tensor
) -> None:
    """Expect that the gradient by log σ is z − mu times the gradient by mu, and neither is 0."""
    if not len(by_mu):
        return
    for name, grad in (("mu", by_mu), ("logsigma", by_logsigma)):
        expect(float(grad.abs().max()) > 1e-4, NO_GRADIENT.format(name), "detached")
    right = by_mu * (z - mu)
    off = float((by_logsigma - right).abs().max() / right.abs().max())
    expect(off < 0.02, "The gradient that reaches `logsigma` through z is not (z − mu) ∂/∂z.")


def expect_gradient_through_kl(submission: Submission) -> None:
    """Expect that the KL in the negative ELBO has a gradient.

    With this σ_x, the gradient of the other term is negligible. At mu = 1 and log σ = −1 the
    gradient of every KL is nonzero, also of an incorrect one.
    """
    vae = any_vae(submission, 3, 1e3)
    plug_encoder(vae, 3, FINE)
    plug_blind_decoder(vae, 3)
    mu, logsigma = torch.ones(3, 3).requires_grad_(), (-torch.ones(3, 3)).requires_grad_()
    total, recon, divergence = terms(vae, with_posterior(mu, logsigma, FINE))
    if isinstance(total, Raised) and TERMS & submission.failed:
        if isinstance(divergence, Raised):
            return
        total = divergence
    inputs = {"mu": mu, "logsigma": logsigma}
    by_mu, by_logsigma = expect_grad(total, inputs, "the negative ELBO", "elbo_detached")
    # The gradient of a KL divided by all pixels is still 1e-3. That of the images is below 1e-7.
    expect(
        float(by_mu.abs().max() + by_logsigma.abs().max()) > 1e-5,
        "No gradient flows through the KL. Is it detached? Both terms train the model.",
        "elbo_detached",
    )
    if "kl_divergence" in submission.failed or not isinstance(recon, torch.Tensor):
        return
    right = kl_term(mu.detach(), logsigma.detach(), LOGSIGMA, EACH_IMAGE)
    if recon.shape != total.shape or not close((total - recon).detach(), right, 1e-2):
        return  # a wrong KL, or a wrong sum, has wrong gradients too
    slopes = {"mu": (by_mu, mu), "logsigma": (by_logsigma, LOGSIGMA.to_sigma(logsigma) ** 2 - 1)}
    for name, (grad, slope) in slopes.items():
        expect(
            close(grad, slope.detach(), 1e-2),
            "Your KL has the right value, but not the right gradient: it should be "
            f"{difference(slope, grad)} for `{name}`. Is a part of the KL detached, or computed "
            "without gradients?",
            "elbo_detached",
        )
