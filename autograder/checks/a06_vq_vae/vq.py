"""Formulas of vector quantization and known mistakes in them.

Encoder outputs z are (N, D, H, W), codebooks E (K, D), rows one vector for each position in
the order (N, H, W), encodings one-hot (N·H·W, K). van den Oord, Vinyals & Kavukcuoglu 2017.
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
    """Arrange rows (N·H·W, D) as maps: correctly, by a reshape only, and with swapped positions."""
    n, dim, height, width = like.shape
    return (
        to_maps(rows, like),
        rows.reshape(like.shape),
        rows.view(n, width, height, dim).permute(0, 3, 2, 1),
        rows.view(height, width, n, dim).permute(2, 3, 0, 1),
    )


def nearest(rows: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the index of the nearest code vector for each row, by brute force (equation 2)."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(rows.double(), codebook.double(), compute_mode=exact).argmin(1)


def one_hot(indices: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the one-hot encodings (M, K) of indices (M,)."""
    return F.one_hot(indices, len(codebook)).double()


def encode(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the correct encodings of z, (N·H·W, K)."""
    return one_hot(nearest(to_rows(z), codebook), codebook)


def _by_score(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a formula of encodings that select the smallest score (M, K) of rows and codebook."""
    return lambda z, codebook: one_hot(score(to_rows(z), codebook).argmin(1), codebook)


MIXED = (
    "Your rows are not the vectors of single positions. `inputs` is (N, D, H, W), so a reshape "
    "into rows of D mixes positions and channels. Move the channels to the last axis first."
)
SHUFFLED = (
    "The rows are correct vectors in the wrong order. The order should be (N, H, W): image by "
    "image, and in each image row by row."
)
WRONG_CUTS: tuple[tuple[str, str, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    ("channels_not_last", MIXED, lambda z: z.reshape(-1, z.shape[1])),
    ("places_out_of_order", SHUFFLED, lambda z: to_rows(z.transpose(2, 3))),
    ("places_out_of_order", SHUFFLED, lambda z: z.permute(2, 3, 0, 1).flatten(0, 2)),
)


def cut_wrongly(
    z: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[Mistake, ...]:
    """Return the mistakes of splitting z, (N, D, H, W), into incorrect rows.

    Args:
        z: The encoder's output, (N, D, H, W).
        value: Computes the tested value from rows (N·H·W, D).
    """

    def after(cut: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda *_: value(cut(z))

    return tuple(Mistake(name, says, after(cut)) for name, says, cut in WRONG_CUTS)


EXPAND = "Expand ‖z − e‖² in full: it has three terms, and the middle one has a factor."

NEAREST_MISTAKES = (
    Mistake(
        "farthest_code",
        "Each position gets the farthest code vector. It should get the nearest one: select "
        "the smallest distance.",
        _by_score(lambda rows, codebook: -torch.cdist(rows, codebook)),
    ),
    Mistake(
        "distance_without_cross_term",
        "Every position gets the same code vector, the shortest one: your distances have no "
        f"term with both z and e. {EXPAND}",
        _by_score(lambda rows, codebook: (codebook**2).sum(1).expand(len(rows), -1)),
    ),
    Mistake(
        "distance_without_code_norm",
        "Your distances contain no ‖e‖² that differs between code vectors, so long ones are "
        "selected too often. The term is missing, or it is one sum over the whole codebook. "
        f"{EXPAND}",
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
        "You compare only the directions of z and e. The distance also depends on their lengths.",
        _by_score(lambda rows, codebook: -F.normalize(rows) @ F.normalize(codebook).T),
    ),
    Mistake(
        "absolute_distance",
        "Your distance adds up absolute differences. Add up squared differences.",
        _by_score(lambda rows, codebook: torch.cdist(rows, codebook, p=1.0)),
    ),
)


# The loss. `gap` is z − e at each position. Both terms have the value mean(gap²).


def mean_square(gap: torch.Tensor) -> torch.Tensor:
    """Return the value of both terms, mean(gap²)."""
    return gap.pow(2).mean()


BETA_FIXED = "The weight of the commitment loss is the constant 0.25. Use `commitment_cost`."
LOSS_MISTAKES = (
    Mistake("beta_fixed", BETA_FIXED, lambda gap, beta: 1.25 * mean_square(gap)),
    Mistake(
        "commitment_missing",
        "Your loss has the value of the codebook loss alone: its weights add up to 1. It should "
        "have two terms: the codebook loss, and the commitment loss with weight β.",
        lambda gap, beta: mean_square(gap),
    ),
    Mistake(
        "codebook_loss_missing",
        "Your loss has the value of the commitment loss only. Without the codebook loss, no "
        "gradient moves the code vectors.",
        lambda gap, beta: beta * mean_square(gap),
    ),
    Mistake(
        "beta_ignored",
        "Both terms of your loss have weight 1. `commitment_cost` should weight one of them.",
        lambda gap, beta: 2 * mean_square(gap),
    ),
    Mistake(
        "beta_on_both",
        "β weights both terms of your loss. It should weight only one of them.",
        lambda gap, beta: 2 * beta * mean_square(gap),
    ),
    Mistake(
        "loss_summed",
        "Your loss is the sum over all elements. It should be their mean.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum(),
    ),
    Mistake(
        "loss_summed_over_channels",
        "Your loss averages over positions but adds up the D numbers of each. Take the mean "
        "over all elements.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum(1).mean(),
    ),
    Mistake(
        "loss_summed_over_images",
        "Your loss is divided by the number of images only. Take the mean over all elements.",
        lambda gap, beta: (1 + beta) * gap.pow(2).sum() / len(gap),
    ),
    Mistake(
        "loss_not_squared",
        "The terms of your loss are distances. They should be squared distances.",
        lambda gap, beta: (1 + beta) * gap.norm(dim=1).mean(),
    ),
    Mistake(
        "loss_sign",
        "Your loss has the wrong sign. It should decrease as z and e come closer.",
        lambda gap, beta: -(1 + beta) * mean_square(gap),
    ),
    Mistake(
        "commitment_weight",
        "Your loss has the value of the codebook loss minus β times the commitment loss. The two "
        "are added.",
        lambda gap, beta: (1 - beta) * mean_square(gap),
    ),
    Mistake(
        "commitment_weight",
        "One term of your loss has weight β². Multiply by β once.",
        lambda gap, beta: (1 + beta**2) * mean_square(gap),
    ),
    Mistake(
        "commitment_weight",
        "The weights of your loss add up to 2 + β. They should be 1 and β.",
        lambda gap, beta: (2 + beta) * mean_square(gap),
    ),
    Mistake(
        "loss_divided_by_images",
        "Your loss is a mean, and divided by the number of images as well. The mean has "
        "already divided by the number of all elements.",
        lambda gap, beta: (1 + beta) * mean_square(gap) / len(gap),
    ),
    Mistake(
        "loss_divided_by_images",
        "One term of your loss is divided by the number of images as well. The mean has "
        "already divided by the number of all elements.",
        lambda gap, beta: (1 + beta / len(gap)) * mean_square(gap),
    ),
)

# The gradients are measured for so many images of one position, with so many channels.
IMAGES, CHANNELS = 12, 4
# The gradients of the loss at z and at the codebook, in shares of 2 (z − e) / n and of 2 (e − z) /
# n, and its value in shares of mean(gap²). The correct shares are β, 1 and 1 + β. A gradient of
# None: no gradient arrives. A value of None: any value.
Shares = tuple[float | None, float | None, float | None]

AFTER_SHORTCUT = (
    "The codebook gets no gradient from the loss, or the encoder gets an incorrect one. Is the "
    "loss computed from the straight-through output? Compute it before the straight-through step."
)
SHORTCUT_SHARES: tuple[Callable[[float], Shares], ...] = (
    lambda beta: (beta - 1, None, None),
    lambda beta: (-1.0, None, None),
)
PULL_MISTAKES: tuple[tuple[str, str, Callable[[float], Shares]], ...] = (
    ("beta_fixed", BETA_FIXED, lambda beta: (0.25, 1.0, None)),
    (
        "stop_gradients_swapped",
        "The encoder gets a gradient of weight 1 and the codebook one of weight β. β weights "
        "the wrong term, or the two stop-gradients are swapped. Check for each term what it "
        "should move.",
        lambda beta: (1.0, beta, None),
    ),
    (
        "printed_vq_loss",
        "Your commitment loss moves the code vectors, too: its stop-gradient is missing. The "
        "assignment's source prints it that way. See the erratum in the notebook.",
        lambda beta: (beta, 1 + beta, 1 + beta),
    ),
    (
        "codebook_loss_moves_encoder",
        "Your codebook loss moves the encoder, too. Detach the encoder's output in it.",
        lambda beta: (1 + beta, 1.0, 1 + beta),
    ),
    (
        "commitment_weight",
        "The weight of your commitment loss is 1 + β. It should be β.",
        lambda beta: (1 + beta, 1.0, 2 + beta),
    ),
    (
        "commitment_weight",
        "The weight of your commitment loss is β². It should be β.",
        lambda beta: (beta**2, 1.0, 1 + beta**2),
    ),
    (
        "commitment_weight",
        "The weight of your commitment loss is −β: the loss moves z away from its code vector.",
        lambda beta: (-beta, 1.0, 1 - beta),
    ),
    (
        "beta_ignored",
        "The weight of your commitment loss is 1. It should be β.",
        lambda beta: (1.0, 1.0, 2.0),
    ),
    (
        "beta_on_both",
        "β weights both terms of your loss. It should weight only one of them.",
        lambda beta: (beta, beta, 2 * beta),
    ),
    (
        "no_stop_gradient",
        "Both terms move both the encoder and the codebook. Each term needs a stop-gradient on "
        "one side.",
        lambda beta: (1 + beta, 1 + beta, 1 + beta),
    ),
    (
        "codebook_frozen",
        "The loss moves the encoder with weight 1 + β, and does not move the codebook. Check for "
        "each term what it should move.",
        lambda beta: (1 + beta, None, None),
    ),
    (
        "encoder_frozen",
        "The loss moves the codebook with weight 1 + β, and does not move the encoder. Check for "
        "each term what it should move.",
        lambda beta: (None, 1 + beta, None),
    ),
    (
        "codebook_loss_missing",
        "The loss does not move the codebook, and has the value of the commitment loss only. Where "
        "is the codebook loss?",
        lambda beta: (beta, None, beta),
    ),
    (
        "codebook_loss_detached",
        "The loss includes a codebook loss that does not move the codebook. Is it detached on both "
        "sides, or computed from the straight-through output?",
        lambda beta: (beta, None, 1 + beta),
    ),
    *(("loss_after_straight_through", AFTER_SHORTCUT, shares) for shares in SHORTCUT_SHARES),
    (
        "commitment_missing",
        "The loss does not move the encoder, and has the value of the codebook loss only. Where is "
        "the commitment loss?",
        lambda beta: (None, 1.0, 1.0),
    ),
    (
        "commitment_detached",
        "The loss does not move the encoder: the commitment loss is detached on both sides. "
        "Detach the code vectors only.",
        lambda beta: (None, 1.0, 1 + beta),
    ),
    (
        "loss_divided_by_images",
        "The weight of your commitment loss is β, divided by the number of images. It should be β.",
        lambda beta: (beta / IMAGES, 1.0, None),
    ),
    (
        "loss_divided_by_images",
        "The gradients of your loss are those of a mean over all elements, divided by the number "
        "of images as well.",
        lambda beta: (beta / IMAGES, 1 / IMAGES, None),
    ),
    (
        "loss_summed",
        "The gradients of your loss are those of a sum over all elements. Take the mean over them.",
        lambda beta: (beta * IMAGES * CHANNELS, IMAGES * CHANNELS, None),
    ),
    (
        "loss_summed_over_channels",
        "The gradients of your loss are those of a sum over the D numbers of each position. Take "
        "the mean over all elements.",
        lambda beta: (beta * CHANNELS, CHANNELS, None),
    ),
    (
        "loss_detached",
        "The loss has no gradient at all. Is it detached, or computed outside PyTorch?",
        lambda beta: (None, None, None),
    ),
)


# Perplexity, of shares p (K,).


def entropy(p: torch.Tensor) -> torch.Tensor:
    """Return the entropy in nats; 0 log 0 is 0."""
    return torch.special.entr(p).sum()


def perplexity(encodings: torch.Tensor) -> torch.Tensor:
    """Return the effective number of used code vectors: exp of the entropy of their shares."""
    return entropy(encodings.double().mean(0)).exp()


PERPLEXITY_MISTAKES = (
    Mistake(
        "perplexity_without_exp",
        "Your perplexity is the entropy. Take its exponential.",
        lambda p: entropy(p),
    ),
    Mistake(
        "perplexity_bits",
        "Your perplexity is the entropy in bits. Take its exponential, in the same base.",
        lambda p: entropy(p) / math.log(2),
    ),
    *(
        Mistake(
            "perplexity_mixed_bases",
            "Your perplexity uses two bases: one for the logarithm and another for the power. "
            "Use 2 for both or e for both.",
            lambda p, factor=factor: (factor * entropy(p)).exp(),
        )
        for factor in (math.log(2), 1 / math.log(2))
    ),
    Mistake(
        "perplexity_sign",
        "Your perplexity is the inverse of the correct value: a minus sign is missing in the "
        "entropy.",
        lambda p: (-entropy(p)).exp(),
    ),
    Mistake(
        "perplexity_mean",
        "Your entropy is a mean over the code vectors. It should be a sum over them.",
        lambda p: (entropy(p) / len(p)).exp(),
    ),
    Mistake(
        "perplexity_counts_codes",
        "You count the code vectors that are used at least once. Take the exponential of the "
        "entropy of their usage: rarely used vectors then count less.",
        lambda p: (p > 0).sum(),
    ),
    Mistake(
        "perplexity_of_squares",
        "You compute one over the sum of squared shares. Take the exponential of the entropy "
        "instead.",
        lambda p: 1 / p.pow(2).sum(),
    ),
    Mistake(
        "perplexity_sum_of_exp",
        "You take the exponential of each term of the entropy, and then add up. Add up first: the "
        "exponential is that of the entropy.",
        lambda p: torch.special.entr(p).exp().sum(),
    ),
    *(
        Mistake(
            "perplexity_inner_constant",
            f"You add {constant:g} inside the logarithm. This is so large that it changes the "
            "perplexity. Add a much smaller number.",
            lambda p, constant=constant: (-(p * (p + constant).log()).sum()).exp(),
        )
        for constant in (0.1, 0.01, 0.001)
    ),
)
