"""Checks of `VectorQuantizerEMA`, whose codebook moving averages update, not gradients."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from autograder.checks.a06_vq_vae.base_quantizer import prepare, use_base
from autograder.checks.a06_vq_vae.quantizer import (
    BETA,
    Trial,
    codebook_of,
    expect_straight_gradient,
    make_quantizer,
    maps,
    places,
    scalar,
)
from autograder.checks.a06_vq_vae.vq import BETA_FIXED, cut_wrongly, mean_square, to_maps, to_rows
from autograder.checks.evaluate import not_started
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    close,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    fail,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission

# ε is large here, so that an error in the smoothing is visible.
GAMMA, EPSILON = 0.7, 0.5
EMA = "VectorQuantizerEMA"


# One update (van den Oord et al. 2017, appendix A.1) from the start: sizes are 0, sums are the
# codebook.


def first_update(
    codebook: torch.Tensor, rows: torch.Tensor, encodings: torch.Tensor, gamma: float, eps: float
) -> torch.Tensor:
    """Return the codebook after one update, (K, D)."""
    size, total = first_averages(codebook, rows, encodings, gamma)
    return total / smoothed(size, eps)[:, None]


def first_averages(
    codebook: torch.Tensor, rows: torch.Tensor, encodings: torch.Tensor, gamma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the averaged sizes (K,), not smoothed, and sums (K, D) after one update."""
    size = (1 - gamma) * encodings.sum(0)
    return size, gamma * codebook + (1 - gamma) * encodings.T @ rows


def smoothed(size: torch.Tensor, eps: float) -> torch.Tensor:
    """Return smoothed sizes (K,): no size is 0, and their total does not change."""
    return (size + eps) / (size.sum() + len(size) * eps) * size.sum()


def _divided(
    by: Callable[[torch.Tensor, float], torch.Tensor],
) -> Callable[..., torch.Tensor]:
    """Return a formula of the codebook after one update in which `by` computes the divisor."""
    return _averaged(
        lambda old, counts, sums, gamma: (
            (1 - gamma) * counts,
            gamma * old + (1 - gamma) * sums,
        ),
        by,
    )


def _averaged(
    averages: Callable[
        [torch.Tensor, torch.Tensor, torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]
    ],
    by: Callable[[torch.Tensor, float], torch.Tensor] = smoothed,
) -> Callable[..., torch.Tensor]:
    """Return a formula of the codebook after one update with these averages.

    Args:
        averages: Computes sizes (K,) and sums (K, D) from the codebook, the counts and the sums of
            the batch, and γ.
        by: Computes the divisor (K,) from the sizes and ε.
    """

    def formula(
        codebook: torch.Tensor,
        rows: torch.Tensor,
        encodings: torch.Tensor,
        gamma: float,
        eps: float,
    ) -> torch.Tensor:
        size, total = averages(codebook, encodings.sum(0), encodings.T @ rows, gamma)
        return total / by(size, eps)[:, None]

    return formula


def _clamped(low: float, *, unused: bool = False) -> Callable[..., torch.Tensor]:
    """Return a formula of the codebook with a lower bound of all sizes, or of unused ones only."""
    return _divided(
        lambda size, eps: size.masked_fill(size == 0, low) if unused else size.clamp(min=low)
    )


EMA_LOSS_MISTAKES = (
    Mistake(
        "codebook_loss_kept",
        "The loss still includes a codebook loss. Remove it: here the moving averages update "
        "the codebook.",
        lambda gap, beta: (1 + beta) * mean_square(gap),
    ),
    Mistake(
        "beta_ignored",
        "β does not weight the commitment loss. Multiply the commitment loss by `commitment_cost`.",
        lambda gap, beta: mean_square(gap),
    ),
    Mistake("beta_fixed", BETA_FIXED, lambda gap, beta: 0.25 * mean_square(gap)),
    Mistake(
        "loss_summed",
        "Your loss is the sum over all elements. It should be their mean.",
        lambda gap, beta: beta * gap.pow(2).sum(),
    ),
    Mistake(
        "commitment_missing",
        "The loss is 0. It should be the commitment loss, weighted by β.",
        lambda gap, beta: torch.zeros(()),
    ),
)

# Gradients at z, times n / 2, of a loss with the correct value.
EMA_PULL_MISTAKES = (
    Mistake("beta_fixed", BETA_FIXED, lambda gap, beta: 0.25 * gap),
    Mistake(
        "loss_after_straight_through",
        "The loss has no gradient at z. It is computed from the straight-through output, which "
        "changes together with z. Compute the loss before the straight-through step.",
        lambda gap, beta: torch.zeros_like(gap),
    ),
    Mistake(
        "loss_after_straight_through",
        "The loss moves z away from its code vector, because it is computed from the "
        "straight-through output. Compute the loss before the straight-through step.",
        lambda gap, beta: -beta * gap,
    ),
)

NOT_SMOOTHED = (
    "You divide by sizes that are not smoothed with ε. The size of an unused code vector is then 0."
)
CLAMPED = (
    "You replace small sizes by a lower bound. Smoothing with ε changes all sizes, and keeps their "
    "total."
)
EMA_MISTAKES = (
    Mistake(
        "not_updated",
        "The codebook does not change in training mode. Write the new averages into it.",
        lambda codebook, *_: codebook,
    ),
    Mistake(
        "decay_swapped",
        "The weights of the old average and the new batch are swapped: γ multiplies the old "
        "average.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            codebook, rows, encodings, 1 - gamma, eps
        ),
    ),
    Mistake(
        "sizes_not_smoothed",
        NOT_SMOOTHED,
        _divided(lambda size, eps: size),
    ),
    Mistake(
        "sizes_not_smoothed",
        "You divide by sizes that are not smoothed, and skip the unused code vectors. Smoothing "
        "changes all sizes.",
        lambda codebook, rows, encodings, gamma, eps: torch.where(
            encodings.sum(0)[:, None] > 0,
            _divided(lambda size, eps: size)(codebook, rows, encodings, gamma, eps),
            codebook,
        ),
    ),
    Mistake(
        "epsilon_fixed",
        "Your codebook is that of a constant 1e-5 in the place of ε: as ε itself, or as the "
        "smallest size. Use the argument `epsilon`, and smooth all sizes with it.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            codebook, rows, encodings, gamma, 1e-5
        ),
    ),
    *(Mistake("sizes_clamped", CLAMPED, _clamped(10.0**-n)) for n in range(1, 13)),
    *(Mistake("sizes_clamped", CLAMPED, _clamped(low)) for low in (EPSILON, 1.0)),
    *(Mistake("sizes_clamped", CLAMPED, _clamped(low, unused=True)) for low in (EPSILON, 1.0)),
    Mistake(
        "decay_fixed",
        "γ is the constant 0.99 in your update. Use the argument `decay`.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            codebook, rows, encodings, 0.99, eps
        ),
    ),
    Mistake(
        "batch_not_weighted",
        "The counts and sums of the new batch have weight 1. Their weight should be 1 − γ.",
        lambda codebook, rows, encodings, gamma, eps: (
            (gamma * codebook + encodings.T @ rows) / smoothed(encodings.sum(0), eps)[:, None]
        ),
    ),
    Mistake(
        "batch_not_weighted",
        "The sums of the new batch have weight 1. Their weight should be 1 − γ.",
        _averaged(lambda old, counts, sums, gamma: ((1 - gamma) * counts, gamma * old + sums)),
    ),
    Mistake(
        "batch_not_weighted",
        "The counts of the new batch have weight 1. Their weight should be 1 − γ.",
        _averaged(lambda old, counts, sums, gamma: (counts, gamma * old + (1 - gamma) * sums)),
    ),
    Mistake(
        "sums_not_decayed",
        "The old sums keep weight 1. Their weight should be γ.",
        _averaged(
            lambda old, counts, sums, gamma: ((1 - gamma) * counts, old + (1 - gamma) * sums)
        ),
    ),
    Mistake(
        "sizes_of_shares",
        "You average the shares of the code vectors. Average their counts.",
        _averaged(
            lambda old, counts, sums, gamma: (
                (1 - gamma) * counts / counts.sum(),
                gamma * old + (1 - gamma) * sums,
            )
        ),
    ),
    Mistake(
        "means_for_sums",
        "You add the mean of the vectors that picked a code vector to its sum. Add their sum.",
        _averaged(
            lambda old, counts, sums, gamma: (
                (1 - gamma) * counts,
                gamma * old + (1 - gamma) * sums / counts.clamp(min=1)[:, None],
            )
        ),
    ),
    Mistake(
        "means_for_sums",
        "You add the sum of the vectors that picked a code vector, divided by the number of all "
        "positions, to its sum. Add the sum itself.",
        _averaged(
            lambda old, counts, sums, gamma: (
                (1 - gamma) * counts,
                gamma * old + (1 - gamma) * sums / counts.sum(),
            )
        ),
    ),
    Mistake(
        "total_after_smoothing",
        "Your smoothed sizes do not keep their total: the total is computed after ε was added.",
        _divided(
            lambda size, eps: (
                (size + eps) / ((size + eps).sum() + len(size) * eps) * (size + eps).sum()
            )
        ),
    ),
    Mistake(
        "smoothing_without_codes",
        "Your smoothed sizes do not keep their total: ε is added to K sizes, but only once to "
        "their total.",
        _divided(lambda size, eps: (size + eps) / (size.sum() + eps) * size.sum()),
    ),
    Mistake(
        "sizes_not_rescaled",
        "Your smoothed sizes add up to 1. They should add up to the total of the sizes: a "
        "factor is missing.",
        _divided(lambda size, eps: (size + eps) / (size.sum() + len(size) * eps)),
    ),
    Mistake(
        "sizes_not_rescaled",
        "You add ε to the sizes and do not rescale them. Smoothing should not change their total.",
        _divided(lambda size, eps: size + eps),
    ),
    Mistake(
        "past_forgotten",
        "Each code vector is the mean of this batch only. Include the old averages, with weight γ.",
        lambda codebook, rows, encodings, gamma, eps: (
            encodings.T @ rows / encodings.sum(0)[:, None]
        ),
    ),
    Mistake(
        "sums_start_at_zero",
        "The averaged sums do not include their start value. `cluster_sum` starts as a copy of "
        "the codebook and decays from there.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            torch.zeros_like(codebook), rows, encodings, gamma, eps
        ),
    ),
    Mistake(
        "codebook_averaged",
        "You average the code vectors with the means of the batch. Average sums and sizes "
        "separately, then divide: a mean of many positions should have more weight than a mean "
        "of few.",
        lambda codebook, rows, encodings, gamma, eps: (
            gamma * codebook + (1 - gamma) * encodings.T @ rows / encodings.sum(0)[:, None]
        ),
    ),
)


def averaging(submission: Submission, codebook: torch.Tensor) -> RemoteObject:
    """Make a quantizer with moving averages."""
    use_base(submission)
    return make_quantizer(submission, codebook, name=EMA, decay=GAMMA, epsilon=EPSILON)


def ema_trial(
    submission: Submission, quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor
) -> Trial:
    """Call a quantizer with moving averages, whose code vectors are `codebook`, (K, D)."""
    prepare(submission, quantizer, z, codebook)
    return Trial.of(quantizer, z, codebook)


def clusters() -> tuple[torch.Tensor, torch.Tensor]:
    """Make 60 single positions and a codebook of 5 vectors; one is unused, one is used once.

    A lower bound in place of smoothed sizes changes both, and a size of 0 shows if there is none.

    The midpoint to another code vector is at least 5 standard deviations of the noise away. A
    position with two nearest vectors (within 1e-5), for which correct formulas may differ, occurs
    less than once in 10⁶ runs.
    """
    codebook = torch.eye(5, 3) * torch.tensor([1.0, 1.5, 2.0]) - 0.2
    codebook[4] = -3.0
    chosen = torch.repeat_interleave(torch.arange(4), torch.tensor([30, 19, 10, 1]))
    return codebook[chosen][:, :, None, None] + 0.1 * places(60, 3), codebook


def batches(submission: Submission) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield single positions, then images of several, where the layout of the rows matters."""
    yield clusters()
    # Other rows give other encodings. If the encodings have failed, their own check reports it.
    if "nearest_code" not in submission.failed:
        codebook = codebook_of(4, 3)
        yield maps((2, 3, 3, 5), codebook), codebook


START_MISTAKES = (
    Mistake(
        "sums_start_at_zero",
        "`cluster_sum` starts at zeros. Start it as a copy of the codebook: otherwise, code "
        "vectors that no position has used yet become 0.",
        torch.zeros_like,
    ),
)


@check("ema")
def test_ema_buffers(submission: Submission) -> None:
    """`cluster_size` starts at zeros. `cluster_sum` starts as a copy of the codebook."""
    use_base(submission)
    quantizer = submission.new(EMA, 7, 3, BETA)
    codebook = expect_tensor(quantizer.embedding.weight.value(), (7, 3), "`embedding.weight`")
    size = expect_tensor(quantizer.cluster_size.value(), (7,), "`cluster_size`")
    total = expect_tensor(quantizer.cluster_sum.value(), (7, 3), "`cluster_sum`")
    expect_close(size, torch.zeros(7), "`cluster_size` at the start")
    expect_close(total, codebook, "`cluster_sum` at the start", (codebook,), START_MISTAKES)
    state = quantizer.state_dict()
    expect(
        {"cluster_size", "cluster_sum"} <= set(state),
        "`cluster_size` and `cluster_sum` are not buffers. They would not be saved with the "
        "model, and would not move to another device with it. Use `register_buffer`.",
        "averages_not_buffers",
    )


@check("ema")
def test_ema_quantizes_first(submission: Submission) -> None:
    """A batch is quantized with the old codebook. The codebook is updated after that."""
    for z, codebook in batches(submission):
        trial = ema_trial(submission, averaging(submission, codebook), z, codebook)
        if "nearest_code" not in submission.failed:
            trial.expect_nearest()
        picked, moved = trial.picked(), trial.picked(trial.quantizer.embedding.weight.value())
        if "straight_through" not in submission.failed:
            expect_order(to_rows(trial.output()), picked, moved, "`quantized` in training mode")
        expect_commitment(scalar(trial.loss, "`loss`"), z.double(), picked, moved)


def expect_order(
    got: torch.Tensor,
    before: torch.Tensor,
    after: torch.Tensor,
    what: str,
    inputs: Sequence[Any] = (),
    mistakes: Sequence[Mistake] = (),
) -> None:
    """Expect the value from before the update, or name a mistake as `expect_close` does."""
    too_early = Mistake(
        "updated_before_use",
        "The codebook is updated before it quantizes the batch. Quantize with the old code "
        "vectors first, then update them.",
        lambda *_: after,
    )
    expect_close(got, before, what, inputs, (too_early, *mistakes))


def expect_commitment(
    got: torch.Tensor, z: torch.Tensor, picked: torch.Tensor, moved: torch.Tensor
) -> None:
    """Expect β times the commitment loss.

    Args:
        got: The loss, a scalar.
        z: The quantizer's input, (N, D, H, W).
        picked: The code vectors before the update, (N·H·W, D).
        moved: The same code vectors after the update, (N·H·W, D).
    """

    def commitment(rows: torch.Tensor, codes: torch.Tensor = picked) -> torch.Tensor:
        return BETA * mean_square(rows - codes)

    rows = to_rows(z)
    mistakes = (*EMA_LOSS_MISTAKES, *cut_wrongly(z, commitment))
    right, late = commitment(rows), commitment(rows, moved)
    expect_order(got, right, late, "The loss", (rows - picked, BETA), mistakes)


@check("ema")
def test_ema_gradients(submission: Submission) -> None:
    """The loss moves z only: its gradient is 2β (z − e) / n. A second training step works, too."""
    z, codebook = clusters()
    quantizer = averaging(submission, codebook)
    for step in range(2):
        z = z.detach().requires_grad_()
        before = quantizer.embedding.weight.value()
        trial = ema_trial(submission, quantizer, z, torch.as_tensor(before))
        loss = scalar(trial.loss, "`loss`")
        (grad,) = expect_grad(loss, {"z": z}, "the loss", "commitment_detached")
        gap = trial.gap()
        got = to_rows(grad) * z.numel() / 2
        # A loss of 0 has no gradient for another reason.
        mistakes = EMA_PULL_MISTAKES if float(loss.detach()) > 0 else ()
        what = f"The gradient at z in step {step + 1}, times n / 2,"
        expect_close(got, BETA * gap, what, (gap, BETA), mistakes)
    weight = quantizer.embedding.weight
    # PyTorch warns if the gradient of a tensor in a graph is read. It has none.
    in_graph = weight.is_leaf.value() is False
    expect(
        in_graph or not isinstance(weight.grad.value(), torch.Tensor),
        "A gradient reaches the codebook, so the optimizer would update it, too. Only the "
        "moving averages should update it: detach it or set `requires_grad` to False.",
        "ema_codebook_gets_gradient",
    )


# Training steps in the worker, where the quantizer's input is a result of the step itself. In eval
# mode, the gradient of the loss at the codebook then.
STEPS = """
def _steps_of_quantizer(quantizer, z):
    import torch
    with torch.enable_grad():
        scale = torch.ones((), device=z.device, requires_grad=True)
        for training in (True, True, True, False):
            quantizer.train(training)
            loss, quantized, *_ = quantizer(z * scale)
            (loss + quantized.mean()).backward()
    grad = quantizer.embedding.weight.grad
    return 0.0 if grad is None else float(grad.abs().max())
"""


@check("ema")
def test_ema_steps_are_separate(submission: Submission) -> None:
    """Training steps with an encoder are independent: no gradient goes back to an earlier batch."""
    z, codebook = clusters()
    quantizer = averaging(submission, codebook)
    prepare(submission, quantizer, z, codebook)
    submission.run(STEPS, "steps")
    try:
        grad = submission.object("_steps_of_quantizer")(quantizer, z)
    except Raised as error:
        expect(
            "second time" not in error.text,
            "In the second training step, the gradient goes back into the first one: the update "
            "builds a graph from batch to batch. Put it under `torch.no_grad()`.",
            "update_builds_graph",
        )
        return  # Other checks report other exceptions.
    finally:
        # In a notebook, no name stays among the student's own.
        submission.run("del _steps_of_quantizer", "steps")
    expect(
        not isinstance(grad, float) or grad == 0,
        "After updates, a gradient reaches the codebook. Does the update replace "
        "`embedding.weight` by another parameter? Write the new values into the existing one.",
        "ema_codebook_gets_gradient",
    )


@check("ema")
def test_ema_defaults(submission: Submission) -> None:
    """Without the arguments, γ is 0.99 and ε is 1e-5."""
    use_base(submission)
    z, codebook = clusters()
    try:
        quantizer = make_quantizer(submission, codebook, name=EMA)
    except Raised as error:
        if not_started(error):
            raise
        return  # Without default values, every call gives the arguments.
    picks = ema_trial(submission, quantizer, z, codebook).picks()
    inputs = (codebook.double(), to_rows(z).double(), picks)
    got = expect_tensor(quantizer.embedding.weight.value(), codebook.shape, "The new codebook")
    if close(got, first_update(*inputs, 0.99, 1e-5), 1e-3):
        return
    try:
        expect_updates(submission, averaging(submission, codebook), z, codebook)
    except (CheckFailed, Raised):
        return  # An update that is wrong with the arguments, too, has its own check.
    fail(
        "Without `decay` and `epsilon`, the update is not that of their default values: these are "
        "decay=0.99 and epsilon=1e-5.",
        "default_changed",
    )


@check("ema")
def test_ema_update(submission: Submission) -> None:
    """In training mode, codebook = averaged sums divided by smoothed averaged sizes."""
    for z, codebook in batches(submission):
        expect_updates(submission, averaging(submission, codebook), z, codebook)


def expect_updates(
    submission: Submission, quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor
) -> None:
    """Expect the correct codebook after one update and after two."""
    rows = to_rows(z).double()
    encodings = ema_trial(submission, quantizer, z, codebook).picks()
    new = quantizer.embedding.weight.value()
    inputs = (codebook.double(), rows, encodings, GAMMA, EPSILON)
    cuts = cut_wrongly(z.double(), lambda rows: first_update(inputs[0], rows, *inputs[2:]))
    mistakes = (*EMA_MISTAKES, *cuts)
    expect_finite(new, first_update(*inputs), inputs, mistakes)
    got = expect_tensor(new, codebook.shape, "The new codebook")
    expect_close(got, first_update(*inputs), "The new codebook", inputs, mistakes)

    # The second update continues from the averages. A submission may store smoothed sizes or not.
    size, total = first_averages(*inputs[:4])
    again = ema_trial(submission, quantizer, z, got).picks()
    total = GAMMA * total + (1 - GAMMA) * again.T @ rows
    rights = [
        total / smoothed(GAMMA * kept + (1 - GAMMA) * again.sum(0), EPSILON)[:, None]
        for kept in (size, smoothed(size, EPSILON))
    ]
    got = expect_tensor(quantizer.embedding.weight.value(), codebook.shape, "The new codebook")
    if not torch.allclose(got, rights[1], atol=1e-4):
        from_codebook = Mistake(
            "sums_share_memory",
            "In the second update, the averaged sums continue from the codebook, not from the old "
            "sums. Is `cluster_sum` a copy, with its own memory?",
            lambda new: (
                (GAMMA * new + (1 - GAMMA) * again.T @ rows)
                / smoothed(GAMMA * size + (1 - GAMMA) * again.sum(0), EPSILON)[:, None]
            ),
        )
        before = (new.double(),)
        expect_close(got, rights[0], "The codebook after a second update", before, (from_codebook,))


def expect_finite(
    new: Any, right: torch.Tensor, inputs: Sequence[Any], mistakes: Sequence[Mistake]
) -> None:
    """Expect a codebook (K, D) without a division by 0; name the mistake that the others show."""
    if not isinstance(new, torch.Tensor) or new.shape != right.shape:
        return
    finite = torch.isfinite(new).all(1)
    if bool(finite.all()):
        return
    of_these = [Mistake(m.name, m.says, lambda *of, f=m.formula: f(*of)[finite]) for m in mistakes]
    expect_close(new[finite], right[finite], "The new codebook", inputs, of_these)
    fail(f"{NOT_SMOOTHED} The result is not finite.", "sizes_not_smoothed")


@check("ema")
def test_ema_rests_in_eval(submission: Submission) -> None:
    """In eval mode nothing is updated."""
    z, codebook = clusters()
    quantizer = averaging(submission, codebook)
    quantizer.eval()
    kept = (quantizer.embedding.weight, quantizer.cluster_sum, quantizer.cluster_size)
    before = [torch.as_tensor(one.value()) for one in kept]
    ema_trial(submission, quantizer, z, codebook)
    for one, value in zip(kept, before, strict=True):
        expect(
            torch.equal(torch.as_tensor(one.value()), value),
            f"`{one.path}` changes in eval mode, too. Update it in training mode only: "
            "otherwise test images change the codebook.",
            "updates_in_eval",
        )


@check("ema")
def test_ema_quantizes_alike(submission: Submission) -> None:
    """Encodings, output and perplexity are equal to those of `VectorQuantizer`."""
    codebook = codebook_of(9, 4)
    quantizer = averaging(submission, codebook)
    quantizer.eval()
    trial = ema_trial(
        submission, quantizer, maps((2, 4, 3, 5), codebook).requires_grad_(), codebook
    )
    if "nearest_code" not in submission.failed:
        trial.expect_nearest()
        if "straight_through" not in submission.failed:
            right = to_maps(trial.picked(), trial.z)
            expect_close(trial.output().detach(), right, "`quantized`")
            expect_straight_gradient(trial)
    if "perplexity" not in submission.failed:
        trial.expect_perplexity()
