"""Checks of a quantizer: its encodings, its output, its loss and its perplexity.

Output, loss and perplexity are compared with the code vectors that the quantizer itself selected.
An error in the distances therefore loses the points of its own task only.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autograder.checks.a06_vq_vae.vq import (
    CHANNELS,
    IMAGES,
    LOSS_MISTAKES,
    NEAREST_MISTAKES,
    PERPLEXITY_MISTAKES,
    PULL_MISTAKES,
    Shares,
    cut_wrongly,
    encode,
    layouts,
    mean_square,
    nearest,
    one_hot,
    perplexity,
    to_maps,
    to_rows,
)
from autograder.checks.shared.in_parts import (
    call_in_parts,
    call_with_known,
    names_before,
    raised_key,
)
from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    expect,
    expect_close,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Raised, RemoteObject, Submission

BETA = 0.3
# The key in `Submission.kept` that says that `forward` uses the right encodings and codes.
WITH_KNOWN = "known_codes"
# The key of the number of the known value for variables before the codes; see `_rows_for`.
ROWS = "known_rows"
# The key of a variable before the codes, and of the number of its known value, that replaces the
# submission's own.
REPLACED = "replaced_rows"


# A quantizer with a codebook of another size than it should have.
WITH_CODEBOOK = """
import torch as _torch
def _with_codebook(quantizer, codebook):
    quantizer.embedding = _torch.nn.Embedding.from_pretrained(codebook, freeze=False)
"""


def alone(function: Callable[[Submission], None]) -> Callable[[Submission], None]:
    """Let a check use the right encodings and codes, if the submission's have lost their points.

    A check of `straight_through` gets the right encodings only: the submission's own statement
    computes the codes from them.
    """

    @functools.wraps(function)
    def checked(submission: Submission) -> None:
        try:
            function(submission)
        except (CheckFailed, Raised):
            if not {"nearest_code", "straight_through"} & submission.failed:
                raise
            for known in _ways_to_know(submission):
                submission.kept |= known
                try:
                    function(submission)
                    return
                except (CheckFailed, Raised):
                    pass
                finally:
                    for key in known:
                        del submission.kept[key]
            raise

    return checked


def _ways_to_know(submission: Submission) -> Iterator[dict[str, Any]]:
    """Yield entries of `Submission.kept` that say what is known of `forward`.

    With wrong rows, a right lookup may still raise, or return maps of another shape. So each
    variable before the codes is replaced once, alone.
    """
    yield from ({ROWS: one} for one in range(1, KINDS_OF_ROWS))
    yield {WITH_KNOWN: 1}
    if "nearest_code" in submission.failed:
        for name in _before_codes(submission):
            for one in range(KINDS_OF_ROWS):
                yield {WITH_KNOWN: 1, REPLACED: (name, one)}


def _before_codes(submission: Submission) -> tuple[str, ...]:
    """Return the variables that `forward` assigns to before the codes."""
    return names_before(submission, "VectorQuantizer", "forward", ("codes", "quantized"))


def scalar(value: Any, what: str) -> torch.Tensor:
    """Expect a scalar."""
    return expect_tensor(torch.tensor(value) if isinstance(value, float) else value, (), what)


@dataclass(frozen=True)
class Trial:
    """One call of a quantizer, with its input.

    Attributes:
        quantizer: The quantizer.
        z: Its input, (N, D, H, W).
        codebook: Its code vectors before the call, (K, D).
        loss: Its first output. Each output of a correct quantizer is a tensor.
        quantized: Its second output.
        perplexity: Its third output.
        encodings: Its fourth output.
    """

    quantizer: RemoteObject
    z: torch.Tensor
    codebook: torch.Tensor
    loss: Any
    quantized: Any
    perplexity: Any
    encodings: Any

    @classmethod
    def of(cls, quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor) -> "Trial":
        """Call a quantizer and expect four values."""
        got = quantizer(z)
        return cls._of_values(got, quantizer, z, codebook)

    @classmethod
    def in_parts(
        cls, quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor, *, own_codes: bool
    ) -> "Trial":
        """Call a `VectorQuantizer`; an exception stops the task of its own statement only.

        Args:
            quantizer: The quantizer.
            z: Its input, (N, D, H, W).
            codebook: Its code vectors, (K, D).
            own_codes: Whether the codes are tested, so that no known ones replace them.
        """
        submission = quantizer.submission
        known = _known_codes(submission, z.detach(), codebook, own_codes=own_codes)
        call = call_with_known if WITH_KNOWN in submission.kept else call_in_parts
        got = call(quantizer, "VectorQuantizer", "forward", z, known)
        return cls._of_values(got, quantizer, z, codebook)

    @classmethod
    def _of_values(
        cls, got: Any, quantizer: RemoteObject, z: torch.Tensor, codebook: torch.Tensor
    ) -> "Trial":
        expect(
            isinstance(got, tuple) and len(got) == 4,
            "`forward` should return the four values (loss, quantized, perplexity, encodings), got "
            f"{kind(got)}.",
        )
        return cls(quantizer, z, codebook, *got)

    def picks(self) -> torch.Tensor:
        """Return the encodings, (N·H·W, K)."""
        places = self.z.numel() // self.z.shape[1]
        shape = (places, len(self.codebook))
        return expect_tensor(self.encodings, shape, "`encodings`").detach()

    def picked(self, codebook: torch.Tensor | None = None) -> torch.Tensor:
        """Return the selected code vectors, (N·H·W, D), of `codebook` or of the quantizer's own."""
        return self.picks() @ (self.codebook if codebook is None else codebook).double()

    def gap(self) -> torch.Tensor:
        """Return encoder output minus code vector, (N·H·W, D)."""
        return to_rows(self.z.detach().double()) - self.picked()

    def output(self) -> torch.Tensor:
        """Return the second output and expect the shape of z."""
        n, dim, height, width = self.z.shape
        last = isinstance(self.quantized, torch.Tensor) and dim != width
        expect(
            not (last and self.quantized.shape == (n, height, width, dim)),
            "`quantized` has its channels last, (N, H, W, D). Move them back: its shape should be "
            "that of the input, (N, D, H, W).",
            "not_permuted_back",
        )
        return expect_tensor(self.quantized, self.z.shape, "`quantized`")

    def expect_nearest(self) -> None:
        """Expect one-hot encodings of the nearest code vectors."""
        z, codebook, got = self.z.detach(), self.codebook, self.picks()
        count = len(got)
        expect(
            bool(((got == 0) | (got == 1)).all() and (got.sum(1) == 1).all()),
            "Each row of `encodings` should contain a single 1, at the index of the selected "
            "code vector, and zeros elsewhere.",
            "not_one_hot",
        )
        right = encode(z, codebook)
        wrong = int((got != right).any(1).sum())
        if wrong == 0:
            return
        cuts = cut_wrongly(z, lambda rows: one_hot(nearest(rows, codebook), codebook))
        for mistake in (*cuts, *NEAREST_MISTAKES):
            # With fewer positions, an incorrect formula may select the correct vectors by chance.
            expect(
                count < 7 or not torch.equal(got, mistake.formula(z, codebook)),
                f"{mistake.says} At {wrong} of {count} positions, the selected code vector is "
                "not the nearest one.",
                mistake.name,
            )
        expect(
            False,
            f"At {wrong} of {count} positions, the selected code vector is not the nearest one. "
            "Check the distances and the argmin.",
        )

    def expect_loss(self, beta: float) -> None:
        """Expect the correct value of the loss."""
        gap = to_maps(self.gap(), self.z)
        right = (1 + beta) * mean_square(gap)
        expect_close(scalar(self.loss, "`loss`"), right, "The loss", (gap, beta), LOSS_MISTAKES)

    def expect_perplexity(self) -> None:
        """Expect the perplexity of the submission's own encodings."""
        got = self.perplexity
        expect(
            not isinstance(got, torch.Tensor | float)
            or not bool(torch.as_tensor(got).isnan().any()),
            "The perplexity is not a number: an unused code vector gives 0 · log 0. Add a very "
            "small number inside the logarithm.",
            "log_of_zero",
        )
        got = scalar(got, "`perplexity`")
        encodings = self.picks()
        right = perplexity(encodings)
        mistakes = (
            *PERPLEXITY_MISTAKES,
            Mistake(
                "perplexity_of_positions",
                "Your shares are not those of the code vectors: you average each row of the "
                "encodings over the code vectors. Average over the positions.",
                lambda _: _perplexity_with_constant(encodings.mean(1)),
            ),
            Mistake(
                "perplexity_of_counts",
                "You use the number of positions that picked each code vector. Use their share.",
                lambda _: _perplexity_with_constant(encodings.sum(0)),
            ),
            *(
                Mistake(
                    "perplexity_of_softmax",
                    "Your shares are means of a softmax of the distances. Count the picked code "
                    "vectors instead: use the encodings.",
                    lambda _, power=power: _perplexity_with_constant(
                        (-_distances(self.z, self.codebook).pow(power)).softmax(1).mean(0)
                    ),
                )
                for power in (1, 2)
            ),
        )
        expect_close(got, right, "The perplexity", (encodings.mean(0),), mistakes)


def _distances(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the distances of each position of z, (N, D, H, W), to all code vectors."""
    return torch.cdist(to_rows(z.detach()).double(), codebook.double())


def _perplexity_with_constant(shares: torch.Tensor) -> torch.Tensor:
    """Return the perplexity of numbers that need not add up to 1."""
    return (-(shares * (shares + 1e-10).log()).sum()).exp()


def codebook_of(size: int, dim: int) -> torch.Tensor:
    """Make code vectors of very unequal lengths, (size, dim)."""
    return torch.randn(size, dim) * torch.linspace(0.3, 2.5, size)[:, None]


def make_quantizer(
    submission: Submission, codebook: torch.Tensor, beta: float = BETA, name: str = "", **kw: float
) -> RemoteObject:
    """Make a quantizer and load this codebook into it."""
    quantizer = submission.new(name or "VectorQuantizer", *codebook.shape, beta, **kw)
    if WITH_KNOWN in submission.kept:
        submission.run(WITH_CODEBOOK, "with_codebook")
        submission.object("_with_codebook")(quantizer, codebook)
    codebook_in(quantizer, codebook.shape)
    # By attribute: the embedding may be stored under another name and given by a property.
    quantizer.embedding.weight.data.copy_(codebook)
    if name:
        state = {"cluster_sum": codebook, "cluster_size": torch.zeros(len(codebook))}
        quantizer.load_state_dict(state, strict=False)
        # Plain attributes in place of buffers lose points in their own check only.
        for attribute, value in state.items():
            kept = getattr(quantizer, attribute)
            with contextlib.suppress(Raised):
                if not torch.equal(torch.as_tensor(kept.value()), value):
                    kept.data.copy_(value)
    expect_close(
        quantizer.embedding.weight.value().double(),
        codebook,
        "The codebook, after new code vectors were loaded into `embedding.weight`,",
    )
    return quantizer


def maps(shape: tuple[int, int, int, int], codebook: torch.Tensor) -> torch.Tensor:
    """Make an encoder output in which no position has two nearest code vectors."""
    while True:
        z = 1.2 * torch.randn(shape)
        first, second = torch.cdist(to_rows(z), codebook).topk(2, largest=False).values.unbind(1)
        if float((second - first).min()) > 1e-3:
            return z


def places(n: int, dim: int) -> torch.Tensor:
    """Make n images of a single position, (n, dim, 1, 1): the order of axes has no effect."""
    return torch.randn(n, dim, 1, 1)


def tried(
    submission: Submission,
    z: torch.Tensor,
    codebook: torch.Tensor,
    beta: float = BETA,
    *,
    own_codes: bool = False,
) -> Trial:
    """Make a `VectorQuantizer` with this codebook and call it; see `Trial.in_parts`."""
    quantizer = make_quantizer(submission, codebook, beta)
    return Trial.in_parts(quantizer, z, codebook, own_codes=own_codes)


def has_codebook(submission: Submission) -> bool:
    """Return whether a `VectorQuantizer` has a codebook of the right size."""
    try:
        codebook_in(submission.new("VectorQuantizer", 7, 3, BETA), (7, 3))
    except (CheckFailed, Raised):
        return False
    return True


def raised_in_parts(submission: Submission) -> bool:
    """Return whether `VectorQuantizer.forward` has raised an exception and runs in parts."""
    return bool(submission.kept.get(raised_key("VectorQuantizer", "forward")))


def _known_codes(
    submission: Submission, z: torch.Tensor, codebook: torch.Tensor, *, own_codes: bool
) -> dict[str, Any]:
    """Return the results of those parts of `forward` whose tasks have failed, by their names.

    The notebook names these variables.

    Args:
        submission: The submission.
        z: The quantizer's input, (N, D, H, W).
        codebook: Its code vectors, (K, D).
        own_codes: True to leave out the codes, which the check tests. The values that the search
            for the nearest vectors did not compute are then known, too.
    """
    encodings = encode(z, codebook)
    known: dict[str, Any] = {}
    if "nearest_code" in submission.failed:
        rows = _rows_for(z, encodings)
        if own_codes and WITH_KNOWN not in submission.kept:
            known = dict.fromkeys(_before_codes(submission), rows[submission.kept.get(ROWS, 0)])
        elif own_codes and REPLACED in submission.kept:
            name, one = submission.kept[REPLACED]
            known[name] = rows[one]
        known["encodings"] = encodings.float()
    if not own_codes and {"nearest_code", "straight_through"} & submission.failed:
        known["codes"] = to_maps(encodings @ codebook.double(), z).float()
    return known


# The number of values that `_rows_for` returns.
KINDS_OF_ROWS = 5


def _rows_for(z: torch.Tensor, encodings: torch.Tensor) -> tuple[Any, ...]:
    """Return values of which the lookup of the codes may need one, besides the encodings.

    The notebook does not name these variables. A statement that computes the codes from one of
    them is tested with each value.

    Args:
        z: The quantizer's input, (N, D, H, W).
        encodings: The right encodings, (N·H·W, K).

    Returns:
        z with its channels last, the shape of this, z as rows, and the indices of the nearest
        vectors as a row and as maps.
    """
    last = z.permute(0, 2, 3, 1).contiguous()
    indices = encodings.argmax(1)
    return last, tuple(last.shape), last.flatten(0, 2), indices, indices.view(last.shape[:3])


def tried_on_maps(
    submission: Submission, shape: tuple[int, int, int, int], *, own_codes: bool = False
) -> Trial:
    """Call a `VectorQuantizer` with an encoder output of this shape; see `Trial.in_parts`."""
    codebook = codebook_of(9, shape[1])
    return tried(submission, maps(shape, codebook), codebook, own_codes=own_codes)


def codebook_in(quantizer: RemoteObject, shape: Sequence[int]) -> torch.Tensor:
    """Read a quantizer's codebook, (K, D)."""
    what = "The codebook, `embedding.weight`,"
    return expect_tensor(quantizer.embedding.weight.value(), shape, what)


# Gradients at z, for a gradient at `quantized`.
STRAIGHT_MISTAKES = (
    Mistake(
        "gradient_scaled",
        "The gradient of `quantized` reaches z twice. Pass it on once.",
        lambda weights: 2 * weights,
    ),
    Mistake(
        "gradient_scaled",
        "Half of the gradient of `quantized` reaches z. Pass it on without any change.",
        lambda weights: weights / 2,
    ),
    Mistake(
        "gradient_scaled",
        "The gradient of `quantized` reaches z with the opposite sign.",
        lambda weights: -weights,
    ),
)


def expect_straight_gradient(trial: Trial) -> None:
    """Expect that the gradient at `quantized` reaches z unchanged."""
    got, weights = trial.output(), torch.randn(trial.z.shape)
    grad = None
    if got.requires_grad:
        (grad,) = torch.autograd.grad((got * weights).sum(), trial.z, allow_unused=True)
    if grad is None:
        raise CheckFailed(
            "No gradient reaches z from `quantized`. The argmin has none: copy the gradient past "
            "the argmin, with the straight-through estimator.",
            "no_straight_through",
        )
    expect(
        float(grad.abs().max()) > 0,
        "The gradient from `quantized` to z is 0, because the argmin has no gradient. Copy the "
        "gradient past the argmin, with the straight-through estimator.",
        "no_straight_through",
    )
    what = "The gradient at z, for a known gradient at `quantized`,"
    expect_close(grad, weights, what, (weights,), STRAIGHT_MISTAKES)


@check("nearest_code")
def test_nearest_code(submission: Submission) -> None:
    """Each position gets its nearest code vector, for every H and W; `encodings` marks it."""
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2), (3, 2, 4, 1)):
        tried_on_maps(submission, shape).expect_nearest()


@check("nearest_code")
def test_codebook_is_trained(submission: Submission) -> None:
    """The codebook is (K, D), contains different vectors, and is a trainable parameter."""
    quantizer = submission.new("VectorQuantizer", 7, 3, BETA)
    codebook = codebook_in(quantizer, (7, 3))
    trained = quantizer.parameters().values()
    expect(
        float(codebook.std(0).min()) > 0,
        "All code vectors start with the same value. They would get the same gradients and "
        "stay equal. Initialise them with different random values.",
    )
    expect(
        any(torch.equal(found.double(), codebook.double()) for found in trained),
        "The codebook is not a trainable parameter, so the optimizer does not find it. Use "
        "`nn.Embedding` or `nn.Parameter`.",
    )


@check("straight_through")
@alone
def test_quantized_is_code(submission: Submission) -> None:
    """`quantized` contains, at each position, the code vector that was selected there."""
    rows_are_right = True
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2)):
        trial = tried_on_maps(submission, shape, own_codes=True)
        z, got = trial.z, trial.output()
        expect(
            not torch.allclose(got, z.double(), atol=1e-5),
            "`quantized` has the values of z: value and gradient are swapped. In the forward "
            "pass it should be the code vector. In the backward pass, z should get its "
            "gradient.",
            "straight_through_reversed",
        )
        right, *others = layouts(trial.picked(), z)
        fits = [torch.allclose(got, layout, atol=1e-4) for layout in (right, *others)]
        # With only two positions, an incorrect row layout may select the correct codes by chance.
        rows_are_right &= torch.equal(trial.picks(), encode(z, trial.codebook))
        # An incorrect row layout that is also used to restore the maps is one error, not two.
        if fits[0] or (any(fits) and not rows_are_right):
            continue
        expect(
            not fits[1],
            "`quantized` contains the correct code vectors at the wrong positions. The rows "
            "are in the order (N, H, W, D), and a reshape to (N, D, H, W) moves no axis. Use "
            "`permute`.",
            "not_permuted_back",
        )
        expect_close(got, right, "`quantized`")


@check("straight_through")
@alone
def test_gradient_passes_straight_through(submission: Submission) -> None:
    """A gradient at `quantized` reaches z unchanged."""
    z = places(8, 4).requires_grad_()
    expect_straight_gradient(tried(submission, z, codebook_of(9, 4), own_codes=True))


@check("straight_through")
@alone
def test_decoder_leaves_codebook(submission: Submission) -> None:
    """The gradient at `quantized` does not reach the codebook. Only the codebook loss moves it."""
    z = places(8, 4).requires_grad_()
    trial = tried(submission, z, codebook_of(9, 4), own_codes=True)
    got = trial.output()
    if not got.requires_grad:
        return  # The check above reports this.
    got.sum().backward()
    grad = trial.quantizer.embedding.weight.grad.value()
    expect(
        grad is None or float(torch.as_tensor(grad).abs().max()) == 0,
        "The gradient of the decoder moves the code vectors, too. It should reach z only.",
        "decoder_moves_codebook",
    )


@check("vq_loss")
@alone
def test_vq_loss_value(submission: Submission) -> None:
    """The loss is (1 + β) times the mean of (z − e)², over all elements."""
    for n, dim, beta in ((12, 4, BETA), (1, 3, 2.0)):
        tried(submission, places(n, dim), codebook_of(9, dim), beta).expect_loss(beta)


@check("vq_loss")
@alone
def test_vq_loss_is_a_mean_over_places(submission: Submission) -> None:
    """The loss is also correct for images with several positions."""
    # Each image is constant, so that the order of positions and channels has no effect.
    z = torch.randn(5, 1, 1, 1).expand(5, 4, 2, 3).contiguous()
    tried(submission, z, codebook_of(9, 4)).expect_loss(BETA)


@check("perplexity")
@alone
def test_perplexity(submission: Submission) -> None:
    """Perplexity: 1.755 for two code vectors used 3 : 1, 1 for one vector, K for K used equally."""
    for uses in ((3, 1), (4,), (2, 2, 2, 2, 2), (7, 3, 1, 1)):
        codebook = codebook_of(5, 3)
        chosen = torch.repeat_interleave(torch.arange(len(uses)), torch.tensor(uses))
        tried(submission, codebook[chosen][:, :, None, None], codebook).expect_perplexity()


@dataclass(frozen=True)
class Pulls:
    """What the loss moves.

    Attributes:
        got: Its gradients at z and at the codebook, times n / 2.
        units: The values of both for weight 1.
        value: The loss, as a share of mean(gap²).
    """

    got: tuple[torch.Tensor, torch.Tensor]
    units: tuple[torch.Tensor, torch.Tensor]
    value: float


def pulls(submission: Submission) -> Pulls:
    """Measure what the loss moves."""
    trial = tried(submission, places(IMAGES, CHANNELS).requires_grad_(), codebook_of(5, CHANNELS))
    z, loss = trial.z, scalar(trial.loss, "`loss`")
    at_z, at_codebook = torch.zeros(IMAGES, CHANNELS), torch.zeros(5, CHANNELS)
    if loss.requires_grad:
        loss.backward()
        found = trial.quantizer.embedding.weight.grad.value()
        at_z = to_rows(z.grad) if z.grad is not None else at_z
        at_codebook = found if isinstance(found, torch.Tensor) else at_codebook
    gap, half_n = trial.gap(), z.numel() / 2
    return Pulls(
        (at_z.double() * half_n, at_codebook.double() * half_n),
        (gap, -trial.picks().T @ gap),
        float(loss.detach() / mean_square(gap)),
    )


def _shows(measured: Pulls, shares: Shares) -> bool:
    """Return whether gradients and value have these shares."""
    *moved, value = shares
    return (value is None or abs(measured.value - value) < 1e-3) and all(
        torch.allclose(got, (share or 0.0) * unit, atol=1e-4)
        for got, share, unit in zip(measured.got, moved, measured.units, strict=True)
    )


def _marks_one_code(submission: Submission) -> bool:
    """Return whether encodings are one-hot. A gradient of soft ones is not that of the loss."""
    encodings = tried(submission, places(12, 4), codebook_of(5, 4)).picks()
    return bool(((encodings == 0) | (encodings == 1)).all())


def pull_checks(moved: str, which: int, share: float, sentence: str) -> Checks:
    """Test one of the two gradients; name the mistake that both gradients together identify.

    Args:
        moved: What the loss moves.
        which: 0 for z and 1 for the codebook.
        share: The weight of the loss that moves it.
        sentence: The sentence that describes the check.
    """

    @named_check("vq_loss", f"pull_on_{moved}", sentence)
    @alone
    def pull(submission: Submission) -> None:
        if "nearest_code" in submission.failed and not _marks_one_code(submission):
            return
        known = {"nearest_code", "straight_through"} & submission.failed
        if which == 1 and known and raised_in_parts(submission):
            return  # The codes are known numbers: no gradient reaches the codebook through them.
        if which == 1 and WITH_KNOWN in submission.kept:
            expect(not has_codebook(submission), "The gradient at the codebook is not measured.")
            return
        measured = pulls(submission)
        got, unit = measured.got[which], measured.units[which]
        if torch.allclose(got, share * unit, atol=1e-4):
            return
        for name, says, shares in PULL_MISTAKES:
            expect(not _shows(measured, shares(BETA)), says, name)
        expect_close(got, share * unit, f"The gradient of the loss at the {moved}, times n / 2,")

    return (pull,)


CHECKS = (
    test_nearest_code,
    test_codebook_is_trained,
    test_quantized_is_code,
    test_gradient_passes_straight_through,
    test_decoder_leaves_codebook,
    test_vq_loss_value,
    test_vq_loss_is_a_mean_over_places,
    *pull_checks(
        "encoder",
        0,
        BETA,
        "The loss moves z towards its code vector with weight β: its gradient is 2β (z − e) / n.",
    ),
    *pull_checks(
        "codebook",
        1,
        1.0,
        "The loss moves each code vector towards its z with weight 1: the sum of 2 (e − z) / n.",
    ),
    test_perplexity,
)
