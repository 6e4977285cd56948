"""A submission's quantizer as checks call it, and what each of its four answers should be.

Whatever code vectors it picks, its loss, output and perplexity are judged by these, so that a slip
in the distances costs no more than its own task.
"""

from dataclasses import dataclass
from typing import Any

import torch

from autograder.checks.a06_vq_vae.vq import (
    LOSS_MISTAKES,
    NEAREST_MISTAKES,
    PERPLEXITY_MISTAKES,
    PULL_MISTAKES,
    Shares,
    cut_wrongly,
    encode,
    mean_square,
    nearest,
    one_hot,
    perplexity,
    to_maps,
    to_rows,
)
from autograder.checks.vocabulary import expect, expect_close, expect_tensor, kind
from autograder.protocol.remote import RemoteObject, Submission

BETA = 0.3


@dataclass(frozen=True)
class Answer:
    """What a quantizer gave; each entry is a tensor if all is well."""

    loss: Any
    quantized: Any
    perplexity: Any
    encodings: Any

    def picked(self, codebook: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """The code vectors that it says it picked, (N·H·W, D), by its own encodings."""
        places = z.numel() // z.shape[1]
        got = expect_tensor(self.encodings, (places, len(codebook)), "`encodings`")
        return got.detach() @ codebook.double()


def codebook_of(size: int, dim: int) -> torch.Tensor:
    """Make code vectors of very unequal length, (size, dim)."""
    return torch.randn(size, dim) * torch.linspace(0.3, 2.5, size)[:, None]


def make_quantizer(
    submission: Submission, codebook: torch.Tensor, beta: float = BETA, name: str = "", **kw: float
) -> RemoteObject:
    """Make a quantizer and give it this codebook."""
    quantizer = submission.new(name or "VectorQuantizer", *codebook.shape, beta, **kw)
    own = quantizer.embedding.weight.value()
    expect_tensor(own, codebook.shape, "The codebook, `embedding.weight`,")
    state = {"embedding.weight": codebook}
    if name:
        state |= {"cluster_sum": codebook, "cluster_size": torch.zeros(len(codebook))}
    quantizer.load_state_dict(state, strict=False)
    expect_close(
        quantizer.embedding.weight.value().double(),
        codebook,
        "The codebook, after new code vectors were loaded into `embedding.weight`,",
    )
    return quantizer


def quantize(quantizer: RemoteObject, z: torch.Tensor) -> Answer:
    """Call a quantizer."""
    got = quantizer(z)
    expect(
        isinstance(got, tuple) and len(got) == 4,
        "`forward` should return the four values (loss, quantized, perplexity, encodings), got "
        f"{kind(got)}.",
    )
    return Answer(*got)


def maps(shape: tuple[int, int, int, int], codebook: torch.Tensor) -> torch.Tensor:
    """Make an encoder's output in which no place is torn between two code vectors."""
    while True:
        z = 1.2 * torch.randn(shape)
        first, second = torch.cdist(to_rows(z), codebook).topk(2, largest=False).values.unbind(1)
        if float((second - first).min()) > 1e-3:
            return z


def places(n: int, dim: int) -> torch.Tensor:
    """Make n images of a single place, (n, dim, 1, 1): here the order of axes can't matter."""
    return torch.randn(n, dim, 1, 1)


def expect_encodings(answer: Answer, z: torch.Tensor, codebook: torch.Tensor) -> None:
    """Expect one-hot encodings of the nearest code vectors."""
    count = z.numel() // z.shape[1]
    got = expect_tensor(answer.encodings, (count, len(codebook)), "`encodings`")
    expect(
        bool(((got == 0) | (got == 1)).all() and (got.sum(1) == 1).all()),
        "Each row of `encodings` should hold a single 1, at the code vector that was picked, and "
        "zeros elsewhere.",
        "not_one_hot",
    )
    right = encode(z, codebook)
    wrong = int((got != right).any(1).sum())
    if wrong == 0:
        return
    cuts = cut_wrongly(z, lambda rows: one_hot(nearest(rows, codebook), codebook))
    for mistake in (*cuts, *NEAREST_MISTAKES):
        # With fewer places, another formula may pick the same ones by chance.
        expect(
            count < 7 or not torch.equal(got, mistake.formula(z, codebook)),
            f"{mistake.says} {wrong} of {count} places got another than their nearest.",
            mistake.name,
        )
    expect(False, f"{wrong} of {count} places did not get their nearest code vector.")


def scalar(value: Any, what: str) -> torch.Tensor:
    """Expect one number."""
    return expect_tensor(torch.tensor(value) if isinstance(value, float) else value, (), what)


def expect_loss(answer: Answer, z: torch.Tensor, codebook: torch.Tensor, beta: float) -> None:
    """Expect the loss's value."""
    got = scalar(answer.loss, "`loss`")
    gap = to_maps(to_rows(z.double()) - answer.picked(codebook, z), z)
    right = (1 + beta) * mean_square(gap)
    expect_close(got, right, "The loss", (gap, beta), LOSS_MISTAKES)


def pulls(submission: Submission) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measure who moves.

    Returns:
        The gradients at z and at the codebook, times n / 2, and what each would be with weight 1.
    """
    z, codebook = places(12, 4).requires_grad_(), codebook_of(5, 4)
    quantizer = make_quantizer(submission, codebook)
    answer = quantize(quantizer, z)
    loss = scalar(answer.loss, "`loss`")
    at_z, at_codebook = torch.zeros(12, 4), torch.zeros(5, 4)
    if loss.requires_grad:
        loss.backward()
        found = quantizer.embedding.weight.grad.value()
        at_z = to_rows(z.grad) if z.grad is not None else at_z
        at_codebook = found if isinstance(found, torch.Tensor) else at_codebook
    gap = to_rows(z.detach().double()) - answer.picked(codebook, z)
    encodings = torch.as_tensor(answer.encodings).detach().double()
    half_n = z.numel() / 2
    return at_z.double() * half_n, at_codebook.double() * half_n, gap, -encodings.T @ gap


def expect_pull(submission: Submission, which: int, share: float, what: str) -> None:
    """Expect one of the two gradients; name the mistake that both together show."""
    got_and_unit = pulls(submission)
    got, unit = got_and_unit[which], got_and_unit[which + 2]
    if torch.allclose(got, share * unit, atol=1e-4):
        return
    for name, says, shares in PULL_MISTAKES:
        expect(not _shows(got_and_unit, shares(BETA)), says, name)
    expect_close(got, share * unit, what)


def _shows(measured: tuple[torch.Tensor, ...], shares: Shares) -> bool:
    return all(
        torch.allclose(got, (share or 0.0) * unit, atol=1e-4)
        for got, share, unit in zip(measured[:2], shares, measured[2:], strict=True)
    )


def expect_perplexity(answer: Answer, z: torch.Tensor, codebook: torch.Tensor) -> None:
    """Expect the perplexity of the encodings that are there."""
    got = answer.perplexity
    expect(
        not isinstance(got, torch.Tensor | float) or not bool(torch.as_tensor(got).isnan().any()),
        "The perplexity is not a number: an unused code vector gives 0 · log 0. Add something tiny "
        "inside the logarithm.",
        "log_of_zero",
    )
    got = scalar(got, "`perplexity`")
    answer.picked(codebook, z)
    encodings = torch.as_tensor(answer.encodings).detach().double()
    right = perplexity(encodings)
    expect_close(got, right, "The perplexity", (encodings.sum(0),), PERPLEXITY_MISTAKES)
