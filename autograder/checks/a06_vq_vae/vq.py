"""Formulas of vector quantization and the mistakes made in them.

Encoder outputs z are (N, D, H, W), codebooks E (K, D), rows one vector for each place in the order
(N, H, W), encodings one-hot (N·H·W, K). van den Oord, Vinyals & Kavukcuoglu 2017.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from autograder.checks.vocabulary import Mistake


def to_rows(z: torch.Tensor) -> torch.Tensor:
    """Turn (N, D, H, W) into (N·H·W, D)."""
    return z.permute(0, 2, 3, 1).flatten(0, 2)


def to_maps(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Turn (N·H·W, D) into (N, D, H, W), the shape of `like`."""
    n, _, height, width = like.shape
    return rows.unflatten(0, (n, height, width)).permute(0, 3, 1, 2)


def layouts(rows: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Lay (N·H·W, D) out as maps: rightly, by a reshape alone, and with places in other orders."""
    n, dim, height, width = like.shape
    return (
        to_maps(rows, like),
        rows.reshape(like.shape),
        rows.view(n, width, height, dim).permute(0, 3, 2, 1),
        rows.view(height, width, n, dim).permute(2, 3, 0, 1),
    )


def nearest(rows: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Give the index of the nearest code vector for each row, by brute force (equation 2)."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(rows.double(), codebook.double(), compute_mode=exact).argmin(1)


def one_hot(indices: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Encode indices (M,) as (M, K)."""
    return F.one_hot(indices, len(codebook)).double()


def encode(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Give the right encodings of z."""
    return one_hot(nearest(to_rows(z), codebook), codebook)


def _by_score(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Give encodings that pick the smallest score (M, K) of rows and codebook."""
    return lambda z, codebook: one_hot(score(to_rows(z), codebook).argmin(1), codebook)


MIXED = (
    "Your rows are not the vectors of single places: `inputs` is (N, D, H, W), so cutting it into "
    "rows of D mixes places and channels. The channels have to come last first."
)
SHUFFLED = (
    "The right vectors, in the wrong order: rows go image by image, and in each image row by row, "
    "(N, H, W)."
)
WRONG_CUTS: tuple[tuple[str, str, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    ("channels_not_last", MIXED, lambda z: z.reshape(-1, z.shape[1])),
    ("places_out_of_order", SHUFFLED, lambda z: to_rows(z.transpose(2, 3))),
    ("places_out_of_order", SHUFFLED, lambda z: z.permute(2, 3, 0, 1).flatten(0, 2)),
)


def cut_wrongly(
    z: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Mistake, ...]:
    """Give the mistakes of cutting z, (N, D, H, W), into wrong rows.

    Args:
        z: What is cut.
        value: Computes what is looked at from rows (N·H·W, D).
    """

    def after(cut: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda *_: value(cut(z))

    return tuple(Mistake(name, says, after(cut)) for name, says, cut in WRONG_CUTS)


EXPAND = "Expand ‖z − e‖² in full: it has three terms, and the middle one a factor of its own."

NEAREST_MISTAKES = (
    Mistake(
        "farthest_code",
        "Each place gets the code vector that is farthest away: nearest means smallest distance.",
        _by_score(lambda rows, codebook: -torch.cdist(rows, codebook)),
    ),
    Mistake(
        "distance_without_cross_term",
        f"Every place gets the same code vector, the shortest one: z and e never meet. {EXPAND}",
        _by_score(lambda rows, codebook: (codebook**2).sum(1).expand(len(rows), -1)),
    ),
    Mistake(
        "distance_without_code_norm",
        f"Your distances lack ‖e‖², so that long code vectors win too often. {EXPAND}",
        _by_score(lambda rows, codebook: -rows @ codebook.T),
    ),
    Mistake(
        "distance_cross_term_once",
        f"The middle term of your distances has the wrong factor. {EXPAND}",
        _by_score(lambda rows, codebook: (codebook**2).sum(1) - rows @ codebook.T),
    ),
    Mistake(
        "distance_cross_term_sign",
        f"The middle term of your distances has the wrong sign. {EXPAND}",
        _by_score(lambda rows, codebook: (codebook**2).sum(1) + 2 * rows @ codebook.T),
    ),
    Mistake(
        "cosine_distance",
        "You compare directions only: the lengths of z and e count as well.",
        _by_score(lambda rows, codebook: -F.normalize(rows) @ F.normalize(codebook).T),
    ),
    Mistake(
        "absolute_distance",
        "Your distance adds up absolute differences; here it is the squared ones.",
        _by_score(lambda rows, codebook: torch.cdist(rows, codebook, p=1.0)),
    ),
)


# The loss. `gap` is z − e at each place; both terms have the value mean(gap²).


def mean_square(gap: torch.Tensor) -> torch.Tensor:
    """The value that both terms share."""
    return gap.pow(2).mean()


LOSS_MISTAKES = (
    Mistake(
        "commitment_missing",
        "Your loss has the value of the codebook loss alone, or β doesn't enter: two pulls are "
        "due, one each way, and the second is weighted by β.",
        lambda gap, beta: mean_square(gap),
    ),
    Mistake(
        "codebook_loss_missing",
        "Your loss has the value of the commitment loss alone: nothing moves the code vectors.",
        lambda gap, beta: beta * mean_square(gap),
    ),
    Mistake(
        "beta_ignored",
        "Both terms of your loss have weight 1: `commitment_cost` should weight one of them.",
        lambda gap, beta: 2 * mean_square(gap),
    ),
    Mistake(
        "beta_on_both",
        "β weights both terms of your loss; it belongs to one of them.",
        lambda gap, beta: 2 * beta * mean_square(gap),
    ),
    Mistake(
        "loss_summed",
        "Your loss adds up all elements; it should be their mean.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum(),
    ),
    Mistake(
        "loss_summed_over_channels",
        "Your loss averages over places but adds up the D numbers of each; take the mean of all.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum(1).mean(),
    ),
    Mistake(
        "loss_summed_over_images",
        "Your loss is divided by the number of images only; take the mean over all elements.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum() / len(gap),
    ),
    Mistake(
        "loss_not_squared",
        "Your terms are distances; squared ones are due.",
        lambda gap, beta: (1 + beta) * gap.norm(dim=1).mean(),
    ),
    Mistake(
        "loss_sign",
        "Your loss has the wrong sign: it should fall as z and e come closer.",
        lambda gap, beta: -(1 + beta) * mean_square(gap),
    ),
)

# Who moves: the gradients of the loss at z and at the codebook, in shares of 2 (z − e) / n and of
# 2 (e − z) / n. The right shares are β and 1. None: no gradient arrives.
Shares = tuple[float | None, float | None]

PULL_MISTAKES: tuple[tuple[str, str, Callable[[float], Shares]], ...] = (
    (
        "stop_gradients_swapped",
        "The encoder gets the full pull and the codebook only β of it: β sits on the wrong term, "
        "or the two stop-gradients have changed places. Ask of each term who is to move.",
        lambda beta: (1.0, beta),
    ),
    (
        "printed_vq_loss",
        "Your commitment loss moves the code vectors as well: its stop-gradient is missing. That "
        "is how the assignment's source prints it; see the erratum in the notebook.",
        lambda beta: (beta, 1 + beta),
    ),
    (
        "codebook_loss_moves_encoder",
        "Your codebook loss moves the encoder as well: freeze one side of it.",
        lambda beta: (1 + beta, 1.0),
    ),
    (
        "no_stop_gradient",
        "Both terms move both sides: each needs a stop-gradient on one of them.",
        lambda beta: (1 + beta, 1 + beta),
    ),
    (
        "codebook_frozen",
        "Both terms move the encoder, and none the codebook. Ask of each term who is to move.",
        lambda beta: (1 + beta, None),
    ),
    (
        "encoder_frozen",
        "Both terms move the codebook, and none the encoder. Ask of each term who is to move.",
        lambda beta: (None, 1 + beta),
    ),
    (
        "loss_after_straight_through",
        "No gradient reaches the codebook, and the encoder gets one that isn't its own: the loss "
        "is computed from the straight-through output. Compute it before the shortcut.",
        lambda beta: (beta - 1, None),
    ),
    (
        "loss_after_straight_through",
        "No gradient reaches the codebook: the codebook loss is computed from the straight-through "
        "output. Compute the losses before the shortcut.",
        lambda beta: (beta, None),
    ),
    (
        "loss_after_straight_through",
        "No gradient reaches the codebook: is the loss computed from the straight-through output? "
        "Compute it before the shortcut.",
        lambda beta: (-1.0, None),
    ),
    (
        "commitment_detached",
        "The loss doesn't move the encoder: the commitment loss is detached on both sides.",
        lambda beta: (None, 1.0),
    ),
    (
        "loss_detached",
        "The loss moves nothing: is it detached, or computed outside PyTorch?",
        lambda beta: (None, None),
    ),
)


# Perplexity, of shares p (K,) and counts.


def entropy(p: torch.Tensor) -> torch.Tensor:
    """Entropy in nats; 0 log 0 is 0."""
    return torch.special.entr(p).sum()


def perplexity(encodings: torch.Tensor) -> torch.Tensor:
    """How many code vectors are in use: the exponential of the entropy of their shares."""
    return entropy(encodings.double().mean(0)).exp()


PERPLEXITY_MISTAKES = (
    Mistake(
        "perplexity_without_exp",
        "Your perplexity is the entropy: its exponential is missing.",
        lambda counts: entropy(counts / counts.sum()),
    ),
    Mistake(
        "perplexity_bits",
        "Your perplexity is the entropy in bits: its exponential is missing.",
        lambda counts: entropy(counts / counts.sum()) / math.log(2),
    ),
    Mistake(
        "perplexity_mixed_bases",
        "Your perplexity takes log to base 2 and the exponential to base e. Use one base for both.",
        lambda counts: (entropy(counts / counts.sum()) / math.log(2)).exp(),
    ),
    Mistake(
        "perplexity_mixed_bases",
        "Your perplexity takes the natural logarithm and a power of 2. Use one base for both.",
        lambda counts: (entropy(counts / counts.sum()) * math.log(2)).exp(),
    ),
    Mistake(
        "perplexity_sign",
        "Your perplexity is the inverse of what it should be: a sign is missing in the entropy.",
        lambda counts: (-entropy(counts / counts.sum())).exp(),
    ),
    Mistake(
        "perplexity_mean",
        "Your entropy averages over the code vectors; it is a sum over them.",
        lambda counts: (entropy(counts / counts.sum()) / len(counts)).exp(),
    ),
    Mistake(
        "perplexity_counts_codes",
        "You count the code vectors that are used at all. Exponentiate the entropy of their usage: "
        "one that is hardly used hardly counts.",
        lambda counts: (counts > 0).sum(),
    ),
    Mistake(
        "perplexity_of_squares",
        "You take one over the sum of squared shares. Exponentiate the entropy instead.",
        lambda counts: 1 / (counts / counts.sum()).pow(2).sum(),
    ),
)


# Moving averages (appendix A.1): one update from a fresh start, where sizes are 0 and sums are the
# codebook.


def first_update(
    codebook: torch.Tensor, rows: torch.Tensor, encodings: torch.Tensor, gamma: float, eps: float
) -> torch.Tensor:
    """The codebook after one update."""
    size, total = first_averages(codebook, rows, encodings, gamma)
    return total / smoothed(size, eps)[:, None]


def first_averages(
    codebook: torch.Tensor, rows: torch.Tensor, encodings: torch.Tensor, gamma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The averaged sizes (K,), not smoothed, and sums (K, D) after one update."""
    size = (1 - gamma) * encodings.sum(0)
    return size, gamma * codebook + (1 - gamma) * encodings.T @ rows


def smoothed(size: torch.Tensor, eps: float) -> torch.Tensor:
    """Sizes smoothed so that none is 0; their total stays."""
    return (size + eps) / (size.sum() + len(size) * eps) * size.sum()


def _divided(
    by: Callable[[torch.Tensor, float], torch.Tensor],
) -> Callable[..., torch.Tensor]:
    """The codebook after one update, when sums are divided by something else."""

    def formula(
        codebook: torch.Tensor,
        rows: torch.Tensor,
        encodings: torch.Tensor,
        gamma: float,
        eps: float,
    ) -> torch.Tensor:
        size, total = first_averages(codebook, rows, encodings, gamma)
        return total / by(size, eps)[:, None]

    return formula


EMA_LOSS_MISTAKES = (
    Mistake(
        "codebook_loss_kept",
        "The loss still has a codebook loss in it: here the averages move the codebook.",
        lambda gap, beta: (1 + beta) * mean_square(gap),
    ),
    Mistake(
        "beta_ignored",
        "β doesn't weight the commitment loss.",
        lambda gap, beta: mean_square(gap),
    ),
    Mistake(
        "commitment_missing",
        "The loss is 0: the commitment loss is still needed.",
        lambda gap, beta: torch.zeros(()),
    ),
)

# Gradients at z, times n / 2, of a loss that has the right value.
EMA_PULL_MISTAKES = (
    Mistake(
        "loss_after_straight_through",
        "The loss doesn't move z: the straight-through output, which it is computed from, moves "
        "along. Compute the loss before the shortcut.",
        lambda gap, beta: torch.zeros_like(gap),
    ),
    Mistake(
        "loss_after_straight_through",
        "The loss pushes z away from its code vector: it reaches z through the straight-through "
        "output. Compute the loss before the shortcut.",
        lambda gap, beta: -beta * gap,
    ),
)

EMA_MISTAKES = (
    Mistake(
        "not_updated",
        "The codebook stays as it was in training mode: new averages should be written into it.",
        lambda codebook, *_: codebook,
    ),
    Mistake(
        "decay_swapped",
        "The weights of past and present have changed places: γ belongs to the past.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            codebook, rows, encodings, 1 - gamma, eps
        ),
    ),
    Mistake(
        "sizes_not_smoothed",
        "The sizes you divide by are not smoothed: one unused code vector, and you divide by 0.",
        _divided(lambda size, eps: size),
    ),
    Mistake(
        "sizes_not_rescaled",
        "Your smoothed sizes add up to 1, not to the total of the sizes: a factor is missing.",
        _divided(lambda size, eps: (size + eps) / (size.sum() + len(size) * eps)),
    ),
    Mistake(
        "sizes_not_rescaled",
        "You add ε to the sizes and leave it there: smoothing keeps their total.",
        _divided(lambda size, eps: size + eps),
    ),
    Mistake(
        "past_forgotten",
        "Each code vector is the mean of this batch alone: nothing of the past is averaged in.",
        lambda codebook, rows, encodings, gamma, eps: (
            encodings.T @ rows / encodings.sum(0)[:, None]
        ),
    ),
    Mistake(
        "sums_start_at_zero",
        "The averaged sums forget where they started: `cluster_sum` begins as a copy of the "
        "codebook, and decays from there.",
        lambda codebook, rows, encodings, gamma, eps: first_update(
            torch.zeros_like(codebook), rows, encodings, gamma, eps
        ),
    ),
    Mistake(
        "codebook_averaged",
        "You average the code vectors with the batch's means. Average sums and sizes, each by "
        "itself, and divide then: a mean of many places should weigh more than one of few.",
        lambda codebook, rows, encodings, gamma, eps: (
            gamma * codebook + (1 - gamma) * encodings.T @ rows / encodings.sum(0)[:, None]
        ),
    ),
)
