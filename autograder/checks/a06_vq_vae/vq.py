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

AFTER_SHORTCUT = (
    "No gradient reaches the codebook, or the encoder gets one that isn't its own: the loss is "
    "computed from the straight-through output. Compute it before the shortcut."
)
SHORTCUT_SHARES: tuple[Callable[[float], Shares], ...] = (
    lambda beta: (beta - 1, None),
    lambda beta: (beta, None),
    lambda beta: (-1.0, None),
)
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
    *(("loss_after_straight_through", AFTER_SHORTCUT, shares) for shares in SHORTCUT_SHARES),
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


# Perplexity, of shares p (K,).


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
        lambda p: entropy(p),
    ),
    Mistake(
        "perplexity_bits",
        "Your perplexity is the entropy in bits: its exponential is missing.",
        lambda p: entropy(p) / math.log(2),
    ),
    *(
        Mistake(
            "perplexity_mixed_bases",
            "Your perplexity takes the logarithm to one base and the power of another: of 2 and e, "
            "use one for both.",
            lambda p, factor=factor: (factor * entropy(p)).exp(),
        )
        for factor in (math.log(2), 1 / math.log(2))
    ),
    Mistake(
        "perplexity_sign",
        "Your perplexity is the inverse of what it should be: a sign is missing in the entropy.",
        lambda p: (-entropy(p)).exp(),
    ),
    Mistake(
        "perplexity_mean",
        "Your entropy averages over the code vectors; it is a sum over them.",
        lambda p: (entropy(p) / len(p)).exp(),
    ),
    Mistake(
        "perplexity_counts_codes",
        "You count the code vectors that are used at all. Exponentiate the entropy of their usage: "
        "one that is hardly used hardly counts.",
        lambda p: (p > 0).sum(),
    ),
    Mistake(
        "perplexity_of_squares",
        "You take one over the sum of squared shares. Exponentiate the entropy instead.",
        lambda p: 1 / p.pow(2).sum(),
    ),
)
