"""Checks of `loss_fn(x_recon, x, mu, logvar, recon)`: each term alone, and both together."""

import contextlib
import functools
from collections.abc import Callable

import torch

from autograder.checks.shared.differences import rounding
from autograder.checks.shared.gaussian import bce, kl_divergence
from autograder.checks.shared.kl import (
    Pair,
    expect_kl_gradient,
    expect_kl_values,
    kl_checks,
    kl_mistakes,
)
from autograder.checks.shared.likelihood import BERNOULLI, SQUARED_ERROR, reconstruction_checks
from autograder.checks.shared.parameterization import LOGVAR, MEAN, expect_one_number
from autograder.checks.shared.vae_methods import (
    KnownRecon,
    averaged,
    expect_repeatable,
    kept_checks,
    kl_of,
    recon_of,
)
from autograder.checks.shared.wiring import TOLD
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    close,
    expect,
    expect_close,
    expect_grad,
)
from autograder.protocol.remote import Raised, Submission

KL = "kl_divergence"
# Grey and colour images.
SHAPES = ((3, 1, 28, 28), (2, 3, 32, 32), (1, 1, 28, 28))


def loss(
    submission: Submission,
    x_recon: torch.Tensor,
    x: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    recon: str,
    task: str,
) -> torch.Tensor:
    """Call `loss_fn` and expect a scalar; without the argument `recon` if that is "".

    A term that is not summed costs its own task only. The loss then has one value for each pixel or
    for each latent. The checks of another task use the mean, in which their terms are unchanged.
    """
    got = submission.object("loss_fn")(x_recon, x, mu, logvar, *([recon] if recon else []))
    of_pixels = {"bce", "squared_error"} & submission.failed if task == "both" else task == KL
    of_latents = KL in submission.failed if task == "both" else task != KL
    sizes = [x_recon.numel()] * bool(of_pixels) + [mu.numel()] * bool(of_latents)
    return expect_one_number(
        averaged(got, sizes), f'`loss_fn(…, recon="{recon}")`' if recon else "`loss_fn(…)`"
    )


def loss_with(recon: str, task: str) -> Callable[[Submission], Callable[..., torch.Tensor]]:
    """Return the submission's loss as a function, with one reconstruction term, for a task."""

    def called(submission: Submission) -> Callable[..., torch.Tensor]:
        # Where each term stands is one error, which the task of the squared error reports.
        swap = task == "bce" and is_exchanged(submission)
        name = "mse" if swap else recon
        if task == "squared_error":
            expect(not is_exchanged(submission), EXCHANGED, "terms_exchanged")
        whole = functools.partial(loss, submission, recon=name, task=task)
        return expect_repeatable(whole) if task == KL else whole

    return called


RECON = {"bce": KnownRecon.of(BERNOULLI), "mse": KnownRecon.of(SQUARED_ERROR)}
RECON["both"] = KnownRecon(
    lambda x_recon, x: RECON["bce"].right(x_recon, x) + RECON["mse"].right(x_recon, x),
    tuple(
        Mistake(m.name, m.says, lambda x_recon, x, f=m.formula: bce(x_recon, x) + f(x_recon, x))
        for m in RECON["mse"].mistakes
    ),
)


def recon_term(
    submission: Submission, x_recon: torch.Tensor, x: torch.Tensor, recon: str, task: str
) -> torch.Tensor:
    """Return the loss at posterior = prior, where the KL is 0."""
    return recon_of(loss_with(recon, task), RECON[recon])(submission)(x_recon, x)


def kl_term(
    submission: Submission, mu: torch.Tensor, logvar: torch.Tensor, recon: str, task: str
) -> torch.Tensor:
    """Return the loss at (mu, logvar) minus the loss at the prior, on the same images."""
    return kl_of(loss_with(recon, task), RECON[recon])(submission)(mu, logvar)


def half_squared_error(x_recon: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return −log N(x; x_recon, 1) without its constant, mean over images."""
    return SQUARED_ERROR.term(MEAN, x_recon, x)


def pairs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Make reconstructions and images without black or white pixels."""
    return [(0.05 + 0.9 * torch.rand(s), 0.05 + 0.9 * torch.rand(s)) for s in SHAPES]


# Mistakes in the squared error that concern more than a single pixel.
LENGTH = (
    "root_taken",
    'Your "mse" is the length of the difference. It should be half of its square.',
)
SQUARED_ERROR_MISTAKES = (
    Mistake(*LENGTH, lambda x_recon, x: (x_recon - x).flatten(1).norm(dim=1).mean() / 2),
    Mistake(
        "recon_ignored",
        'With recon="mse" you still return the cross-entropy. Do you use the argument `recon`?',
        bce,
    ),
)


EXCHANGED = (
    'The results of "bce" and "mse" are exchanged: with recon="bce" the loss contains half of the '
    'squared error, and with recon="mse" the cross-entropy.'
)


def is_exchanged(submission: Submission) -> bool:
    """Return whether "bce" is the loss with the squared error, and "mse" with the cross-entropy."""
    if "exchanged" not in submission.kept:
        submission.kept["exchanged"] = False
        x_recon, x = pairs()[0]
        inputs = (x_recon, x, *LOGVAR.prior(len(x), 5))
        with contextlib.suppress(Raised, CheckFailed):
            got = [loss(submission, *inputs, recon, KL) for recon in ("mse", "bce")]
            right = bce(x_recon, x), half_squared_error(x_recon, x)
            both = all(close(one, other) for one, other in zip(got, right, strict=True))
            submission.kept["exchanged"] = both
    return bool(submission.kept["exchanged"])


def working_recon(submission: Submission) -> tuple[str, ...]:
    """Return the reconstruction terms for which the loss is a number; at least one."""
    working = []
    for recon in ("bce", "mse"):
        try:
            for images in (pairs()[0], equal_images()):
                recon_term(submission, *images, recon, KL)
        except (Raised, CheckFailed) as error:
            problem = error
        else:
            working.append(recon)
    if not working:
        raise problem
    return tuple(working)


def equal_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return reconstructions that are equal to their images; some wrong terms are infinite here."""
    x = torch.full(SHAPES[0], 0.5)
    return x, x


def working_kl(submission: Submission) -> Pair:
    """Return the KL in the submission's loss, with a reconstruction term that works.

    If it is right with one of several terms only, that one is returned: the check of each loss says
    where it is wrong.
    """
    kls = [
        kl_of(loss_with(recon, KL), RECON[recon])(submission) for recon in working_recon(submission)
    ]
    return next((kl for kl in kls if is_right(kl)), kls[0])


def is_right(kl: Pair) -> bool:
    """Return whether a KL has the right value at a random posterior."""
    inputs = LOGVAR.posterior(3, 5)
    try:
        return close(kl(*inputs), kl_divergence(*inputs))
    except (Raised, CheckFailed):
        return False


FAMILIES = (
    reconstruction_checks(
        "bce",
        recon_of(loss_with("bce", "bce"), RECON["bce"]),
        BERNOULLI,
        MEAN,
        name="bce",
        argument="x_recon",
        shapes=SHAPES,
    ),
    reconstruction_checks(
        "squared_error",
        recon_of(loss_with("mse", "squared_error"), RECON["mse"]),
        SQUARED_ERROR,
        MEAN,
        name="squared_error",
        argument="x_recon",
        more=SQUARED_ERROR_MISTAKES,
        shapes=SHAPES,
    ),
    kl_checks("kl_divergence", working_kl, LOGVAR, MEAN, in_loss=True),
    kept_checks(
        {"bce": ("x_recon", "x"), "kl_divergence": TOLD},
        lambda submission: submission.object("loss_fn"),
        "loss_fn",
        ("x_recon", "x", *TOLD),
    ),
)


@check("bce")
def test_bce_is_the_default(submission: Submission) -> None:
    """The default of `recon` is "bce"."""
    x_recon, x = pairs()[0]
    inputs = (x_recon, x, *LOGVAR.posterior(len(x), 5))
    got, named = (loss(submission, *inputs, recon, "bce") for recon in ("", "bce"))
    if close(got, named):
        return
    for other in ("mse", "both"):
        same = False
        with contextlib.suppress(Raised, CheckFailed):
            same = close(got, loss(submission, *inputs, other, "bce"))
        expect(
            not same,
            f'Without the argument `recon`, the loss is the one of recon="{other}". The default of '
            '`recon` should be "bce".',
            "other_default",
        )
    expect_close(got, named, "The loss without `recon`")


@check("squared_error")
def test_squared_error_of_a_perfect_image(submission: Submission) -> None:
    """The squared error of a perfect reconstruction is 0."""
    _, x = pairs()[0]
    got = recon_term(submission, x, x, "mse", "squared_error")
    expect_close(got, torch.zeros(()), "The squared error of a perfect reconstruction")


NO_KL = (
    Mistake(
        "kl_dropped",
        "The KL is not in the loss: it does not change with mu and logvar.",
        lambda mu, logvar: torch.zeros(()),
    ),
)


@check("kl_divergence")
def test_kl_of_each_loss(submission: Submission) -> None:
    """The KL is correct with "bce" and with "mse", and both train the encoder."""
    kls = {
        recon: kl_of(loss_with(recon, KL), RECON[recon])(submission)
        for recon in working_recon(submission)
    }
    one_right = any(is_right(kl) for kl in kls.values())
    for recon, kl in kls.items():
        try:
            expect_kl_values(kl, LOGVAR, MEAN, (*NO_KL, *kl_mistakes(LOGVAR, MEAN)))
            expect_kl_gradient(kl, LOGVAR, MEAN, f'the loss with "{recon}"')
        except CheckFailed as verdict:
            if one_right:
                said = f'With recon="{recon}": {verdict.message}'
                verdict.message, verdict.args = said, (said,)
            raise


# "both" and `measure` use the terms. If a term of the submission has failed, they may use it
# unchanged: the error has already lost the points of its own task.


def own(call: Callable[[], torch.Tensor], failed: bool) -> torch.Tensor | None:
    """Return what the submission's own terms give; None if they are right, or give nothing."""
    if not failed:
        return None
    try:
        return call()
    except (Raised, AssertionError):
        return None


def either(got: torch.Tensor, right: torch.Tensor, otherwise: torch.Tensor | None) -> torch.Tensor:
    """Return the expected value: `right`, unless `got` is computed from the submission's terms."""
    if otherwise is not None and torch.allclose(got, otherwise.double(), rtol=1e-4, atol=1e-4):
        return otherwise
    return right


BOTH_MISTAKES = (
    Mistake(
        "one_term_alone",
        'With recon="both" the loss is only the cross-entropy. Add the squared error.',
        lambda cross_entropy, squared: cross_entropy,
    ),
    Mistake(
        "one_term_alone",
        'With recon="both" the loss is only the squared error. Add the cross-entropy.',
        lambda cross_entropy, squared: squared,
    ),
    Mistake(
        "both_averaged",
        '"both" is the mean of the two terms. It should be their sum.',
        lambda cross_entropy, squared: (cross_entropy + squared) / 2,
    ),
    Mistake(
        "both_subtracted",
        'In "both" one term is subtracted from the other. Add them.',
        lambda cross_entropy, squared: cross_entropy - squared,
    ),
)


def unmeasurable(submission: Submission) -> bool:
    """Return whether a term that has failed is no number where "both" is measured."""
    if not {"bce", "squared_error", KL} & submission.failed:
        return False
    x_recon, x = equal_images()
    for recon in ("bce", "mse"):
        try:
            loss(submission, x_recon, x, *LOGVAR.prior(len(x), 5), recon, "both")
        except CheckFailed:
            return True
        except Raised:
            return False
    return False


@check("both")
def test_both_adds_the_terms(submission: Submission) -> None:
    """With the KL at 0, "both" is the cross-entropy plus half of the squared error."""
    if unmeasurable(submission):
        return
    failed = bool({"bce", "squared_error"} & submission.failed)
    for x_recon, x in pairs():
        got = recon_term(submission, x_recon, x, "both", "both")
        terms = bce(x_recon, x), half_squared_error(x_recon, x)
        call = functools.partial(recon_term, submission, x_recon, x)
        student_term = own(lambda call=call: call("bce", "both") + call("mse", "both"), failed)  # type: ignore[misc]
        expect_close(got, either(got, sum(terms), student_term), "The sum", terms, BOTH_MISTAKES)  # type: ignore[arg-type]


BOTH_KL_MISTAKES = (
    Mistake(
        "kl_twice",
        'With recon="both" the loss includes the KL twice: you add two losses that both '
        "include it. Add it once.",
        lambda kl: 2 * kl,
    ),
    Mistake(
        "kl_dropped",
        'With recon="both" the loss does not include the KL. Add it once.',
        torch.zeros_like,
    ),
)


@check("both")
def test_both_has_one_kl(submission: Submission) -> None:
    """The loss with "both" includes the KL exactly once."""
    if unmeasurable(submission):
        return
    mu, logvar = LOGVAR.posterior(3, 5)
    measured = kl_of(loss_with("both", "both"), RECON["both"])(submission)
    got, right = measured(mu, logvar), kl_divergence(mu, logvar)
    student_term = own(
        lambda: kl_term(submission, mu, logvar, "bce", "both"), KL in submission.failed
    )
    expected = either(got, right, student_term)
    expect_close(
        got,
        expected,
        'The KL in "both"',
        (expected,),
        BOTH_KL_MISTAKES,
        rounding=rounding(measured),
    )


@check("both")
def test_both_carries_gradients(submission: Submission) -> None:
    """Gradients of "both" reach the reconstruction, mu and logvar, from every term."""
    x_recon, x = pairs()[0]
    mu, logvar = LOGVAR.posterior(len(x), 5)
    inputs = {"x_recon": x_recon, "mu": mu, "logvar": logvar}
    for value in inputs.values():
        value.requires_grad_()
    value = loss(submission, x_recon, x, mu, logvar, "both", "both")
    failed = {"bce", "squared_error", "kl_divergence"} & submission.failed
    if failed:
        inputs = _reached(submission, x, inputs)
        if inputs:
            expect_grad(value, inputs, 'the loss "both"', "both_detached")
        return  # the values of a term are wrong, and have lost the points of its own task
    total = RECON["both"].right(x_recon, x) + kl_divergence(mu, logvar)
    if isinstance(value, torch.Tensor) and not close(value, total.detach()):
        return  # a wrong value has wrong gradients too; another check names it
    got = expect_grad(value, inputs, 'the loss "both"', "both_detached")
    right = torch.autograd.grad(total, list(inputs.values()))
    for name, grad, slope in zip(inputs, got, right, strict=True):
        expect(
            torch.allclose(grad.double(), slope.double(), rtol=1e-3, atol=1e-5),
            f'From "both", only a part of the gradient reaches `{name}`. Is one of the terms '
            "detached?",
            "both_detached",
        )


def _reached(
    submission: Submission, x: torch.Tensor, inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return those inputs that the gradient of "bce" or of "mse" reaches.

    A term without a gradient has lost the points of its own task.
    """
    x_recon, mu, logvar = inputs.values()
    reached: dict[str, torch.Tensor] = {}
    for recon in ("bce", "mse"):
        with contextlib.suppress(Raised, CheckFailed):
            value = loss(submission, x_recon, x, mu, logvar, recon, "both")
            if not value.requires_grad:
                continue
            grads = torch.autograd.grad(value, list(inputs.values()), allow_unused=True)
            found = zip(inputs.items(), grads, strict=True)
            reached |= {name: one for (name, one), grad in found if grad is not None}
    return {name: one for name, one in inputs.items() if name in reached}
