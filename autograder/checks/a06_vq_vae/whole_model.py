"""Checks of `Model`, with known maps (stubs) in place of its parts."""

from dataclasses import dataclass

import torch

from autograder.checks.a06_vq_vae.base_quantizer import BASE_TASKS
from autograder.checks.a06_vq_vae.moving_averages import EMA
from autograder.checks.a06_vq_vae.quantizer import BETA, scalar
from autograder.checks.a06_vq_vae.vq_networks import count, expect_order
from autograder.checks.evaluate import not_started
from autograder.checks.shared.calls import expect_called
from autograder.checks.vocabulary import (
    CheckFailed,
    Mistake,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

ORDER = "the order is (loss, x_recon, perplexity)."
NOT_THE_QUANTIZERS = (
    "`loss` should be exactly the loss of the quantizer. The training step adds the reconstruction "
    "error."
)
# Parts that only keep the arguments they were made with, in place of parts that have failed.
STAND_INS = """
import torch as _torch
_kept = {name: globals().get(name) for name in
         ("VectorQuantizer", "VectorQuantizerEMA", "Encoder", "Decoder")}
class VectorQuantizer(_torch.nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self.made_with = [num_embeddings, embedding_dim, commitment_cost, 0]
        self.embedding = _torch.nn.Embedding(num_embeddings, embedding_dim)
class VectorQuantizerEMA(_torch.nn.Module):
    def __init__(self, num_embeddings, embedding_dim, commitment_cost, decay=0.99, epsilon=1e-5):
        super().__init__()
        self.made_with = [num_embeddings, embedding_dim, commitment_cost, decay]
        self.embedding = _torch.nn.Embedding(num_embeddings, embedding_dim)
"""
NETWORK = """
import torch as _torch
class {}(_torch.nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
"""
RESTORE = """
globals().update({name: value for name, value in _kept.items() if value is not None})
"""
PARTS = frozenset({*BASE_TASKS, "ema", "residual", "encoder", "decoder"})


def new_model(submission: Submission, beta: float = BETA, decay: float = 0) -> RemoteObject:
    """Make a small model."""
    return submission.new("Model", 8, 1, 4, 6, 2, beta, decay)


@dataclass(frozen=True)
class KnownParts:
    """The functions that the stubs compute.

    Attributes:
        by: Maps z, (N, 8), to the codes, (N, 8).
        loss: Weights of the quantizer's loss, (8,).
        used: Weights of its perplexity, (8,).
        pixels: Maps codes to the pixels of (3, 8, 8) images, (8, 192).
    """

    by: torch.Tensor
    loss: torch.Tensor
    used: torch.Tensor
    pixels: torch.Tensor

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Map codes (N, 8) to images (N, 3, 8, 8)."""
        return (codes @ self.pixels.double()).unflatten(1, (3, 8, 8))

    def x_recon(self, z: torch.Tensor) -> torch.Tensor:
        """Return the reconstructions (N, 3, 8, 8) of z, (N, 8)."""
        return self.decode(z @ self.by.double())

    def total(self, z: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return one of the two scalars that the quantizer's stub returns."""
        return (z @ weights.double()).sum()


def known_parts(model: RemoteObject, *, encoder: bool) -> KnownParts:
    """Replace quantizer and decoder by stubs, and the encoder too if it has failed."""
    parts = KnownParts(torch.randn(8, 8), torch.randn(8), 1 + torch.rand(8), torch.randn(8, 192))
    if encoder:
        model.set_stub("encoder", Affine([torch.randn(192, 8) / 14], (2, 2, 2)), names=("x",))
    model.set_stub(
        "vq_vae",
        Affine([parts.loss], total=True),
        Affine([parts.by], (2, 2, 2)),
        Affine([parts.used], total=True),
        Affine([parts.by]),
        names=("inputs",),
    )
    model.set_stub("decoder", Affine([parts.pixels], (3, 8, 8)), names=("quantized",))
    return parts


LOSS_MISTAKES = (
    Mistake(
        "outputs_swapped",
        f"`forward` returns the perplexity in the place of the loss; {ORDER}",
        lambda parts, z: parts.total(z, parts.used),
    ),
)
RECON_MISTAKES = (
    Mistake(
        "decodes_unquantized",
        "`forward` decodes the encoder's output itself. The decoder should get the output of "
        "the quantizer.",
        lambda parts, z: parts.decode(z),
    ),
    Mistake(
        "squashed",
        "`forward` applies a sigmoid to the decoder's output, which makes negative pixels "
        "impossible. Return the output unchanged.",
        lambda parts, z: parts.x_recon(z).sigmoid(),
    ),
    Mistake(
        "squashed",
        "`forward` applies a tanh to the decoder's output. Return the output unchanged.",
        lambda parts, z: parts.x_recon(z).tanh(),
    ),
    Mistake(
        "range_shifted",
        "`forward` adds one half to the decoder's output. Return the output unchanged.",
        lambda parts, z: parts.x_recon(z) + 0.5,
    ),
)


@check("model")
def test_model_wiring(submission: Submission) -> None:
    """`forward` encodes, quantizes and decodes, and returns (loss, x_recon, perplexity)."""
    try:
        model = new_model(submission)
        broken = bool({"encoder", "residual"} & submission.failed)
    except Raised:
        model, broken = submission.bare("Model"), True
    parts = known_parts(model, encoder=broken)
    for n, mode in ((5, model.train), (5, model.eval), (1, model.eval)):
        mode()
        x = (torch.rand(n, 3, 8, 8) - 0.5).requires_grad_()
        got = model(x)
        expect(
            isinstance(got, tuple) and len(got) == 3,
            "`forward` should return the three values (loss, x_recon, perplexity), got "
            f"{kind(got)}.",
        )
        for part in ("vq_vae", "decoder"):
            expect_called(model, (part,), "forward")
        expect_outputs(got, parts, model.vq_vae.seen()[-n:].flatten(1).double(), n)
        expect_grad(got[1], {"x": x}, "`x_recon`", "encoder_detached")
        # A graph can be used for one gradient only: call the model again.
        expect_grad(model(x)[0], {"x": x}, "`loss`", "loss_detached")


def expect_outputs(got: tuple, parts: KnownParts, z: torch.Tensor, n: int) -> None:
    """Expect the outputs for z, (n, 8), which the quantizer's stub was called with."""
    loss, x_recon, used = got
    first = isinstance(loss, torch.Tensor) and loss.shape == (n, 3, 8, 8)
    expect(not first, f"`forward` returns the reconstruction first; {ORDER}", "outputs_swapped")
    expect(
        not isinstance(loss, float),
        "`loss` is a plain number, so it has no gradient. Return the tensor: remove `.item()`.",
        "loss_detached",
    )
    inputs = (parts, z)
    right = parts.total(z, parts.loss)
    loss = expect_tensor(loss, (), "`loss`").detach()

    def not_the_quantizers() -> None:
        expect(False, NOT_THE_QUANTIZERS, "loss_not_the_quantizers")

    expect_close(loss, right, "`loss`", inputs, LOSS_MISTAKES, otherwise=not_the_quantizers)
    x_recon = expect_tensor(x_recon, (n, 3, 8, 8), "`x_recon`").detach()
    expect_close(x_recon, parts.x_recon(z), "`x_recon`", inputs, RECON_MISTAKES)
    used = scalar(used, "`perplexity`").detach()
    expect_close(used, parts.total(z, parts.used), "`perplexity`")


@check("model")
def test_model_passes_its_sizes_on(submission: Submission) -> None:
    """K, D, β and decay are passed to the quantizer. `decay > 0` selects moving averages."""
    if not submission.in_notebook and PARTS & submission.failed:
        expect_arguments_passed(submission)
        return
    for decay, name in ((0, "VectorQuantizer"), (0.9, EMA)):
        model = new_model(submission, decay=decay)
        codebook = model.vq_vae.embedding.weight.value()
        expect_tensor(codebook, (6, 2), "The model's codebook, for K = 6 and D = 2,")
        expect(
            has_averages(model) == (decay > 0),
            f"With decay = {decay}, `vq_vae` should be a `{name}`.",
            "decay_ignored",
        )
        other = new_model(submission, beta=3 * BETA, decay=decay)
        other.load_state_dict(model.state_dict())
        x = torch.rand(3, 3, 16, 8) - 0.5
        losses = []
        for one in (model, other):
            one.eval()
            losses.append(scalar(outputs(one, x)[0], "`loss`"))
        # The codebook loss, if there is one, does not depend on β.
        own = 0.0 if decay else 1.0
        ratio = torch.tensor((own + 3 * BETA) / (own + BETA))
        expect(
            not torch.equal(losses[0], losses[1]),
            "Another `commitment_cost` does not change the loss. Is it passed on to the quantizer?",
            "commitment_not_passed",
        )
        expect_close(losses[1] / losses[0], ratio, "The loss for 3β divided by the loss for β")
        if decay:
            model.train()
            model(x)
            size = torch.as_tensor(model.vq_vae.cluster_size.value()).double().sum()
            expect_close(
                size,
                torch.tensor((1 - decay) * 3 * 4 * 2),
                "The sum of `cluster_size` after one batch: is `decay` passed on? It",
            )


@check("model")
def test_model_passes_the_sizes_of_its_networks_on(submission: Submission) -> None:
    """`num_residual_layers` and `num_residual_hiddens` are passed to encoder and decoder."""
    if {"residual", "encoder", "decoder"} & submission.failed:
        expect_arguments_passed(submission)
        return
    grown = {}
    for name, few, many in (
        ("num_residual_layers", (1, 4), (2, 4)),
        ("num_residual_hiddens", (1, 4), (1, 7)),
    ):
        grown[name] = [
            count(submission.new(*first, *many, *last)) - count(submission.new(*first, *few, *last))
            for first, last in (
                (("Model", 8), (6, 2, BETA)),
                (("Encoder", 3, 8), ()),
                (("Decoder", 2, 8), ()),
            )
        ]
    for name, (model, *networks) in grown.items():
        expect(
            model != 0 or sum(networks) == 0,
            f"The number of parameters of `Model` does not depend on `{name}`. Is it passed on to "
            "encoder and decoder?",
            name.removeprefix("num_") + "_not_passed",
        )
    for name, (model, *networks) in grown.items():
        expect(
            model == sum(networks),
            f"With a larger `{name}`, `Encoder` and `Decoder` have {sum(networks):,} more "
            f"parameters, but `Model` has {model:,} more. Are all sizes passed on, in this order?",
        )


@check("model")
def test_model_keeps_the_order_of_its_sizes(submission: Submission) -> None:
    """`num_residual_layers` and `num_residual_hiddens` are not swapped."""
    if {"residual", "encoder", "decoder"} & submission.failed:
        expect_started(submission)
        return
    expect_order(
        lambda layers, inside: submission.new("Model", 8, layers, inside, 6, 2, BETA), "Model"
    )


def expect_started(submission: Submission) -> None:
    """Raise the exception of the starter's placeholder, if it is still in the model."""
    try:
        new_model(submission)
    except Raised as error:
        if not_started(error):
            raise


@check("model")
def test_model_default_decay(submission: Submission) -> None:
    """Without the argument `decay`, the codebook is trained by gradients."""
    if PARTS & submission.failed:
        expect_started(submission)
        return
    try:
        model = submission.new("Model", 8, 1, 4, 6, 2, BETA)
    except Raised:
        return  # Without a default value, every call gives the argument.
    expect(
        not has_averages(model),
        "`Model` without the argument `decay` has a codebook that moving averages update. The "
        "default value of `decay` is 0.",
        "default_changed",
    )


def expect_arguments_passed(submission: Submission) -> None:
    """Expect the right arguments of the quantizers; no part of the model needs to work."""
    networks = (("encoder", "Encoder"), ("decoder", "Decoder"))
    failed = [
        NETWORK.format(name) for task, name in networks if {task, "residual"} & submission.failed
    ]
    submission.run("\n".join([STAND_INS, *failed]), "stand_ins")
    try:
        made = [new_model(submission, decay=decay).vq_vae.made_with.value() for decay in (0, 0.9)]
    finally:
        submission.run(RESTORE, "stand_ins")
    for decay, passed in zip((0, 0.9), made, strict=True):
        rights = {
            "num_embeddings": (6, None),
            "embedding_dim": (2, None),
            "commitment_cost": (BETA, "commitment_not_passed"),
            "decay": (decay, "decay_ignored"),
        }
        for got, (name, (right, mistake)) in zip(passed, rights.items(), strict=True):
            expect(
                got == right,
                f"`Model` makes its quantizer with {name} = {got}; expected {right}.",
                mistake,
            )


def has_averages(model: RemoteObject) -> bool:
    """Return whether the model's quantizer has moving averages, as buffers or not."""
    try:
        return isinstance(model.vq_vae.cluster_size.value(), torch.Tensor)
    except Raised:
        return False


def outputs(model: RemoteObject, x: torch.Tensor) -> tuple:
    """Call a model and expect three values."""
    got = model(x)
    expect(
        isinstance(got, tuple) and len(got) == 3,
        f"`forward` should return the three values (loss, x_recon, perplexity), got {kind(got)}.",
    )
    return tuple(got)


@check("model")
def test_model_on_images(submission: Submission) -> None:
    """Images whose sides are multiples of 4 keep their size, also for a batch of one."""
    if PARTS & submission.failed:
        if "model" in submission.failed:
            raise CheckFailed("This check runs after the other checks have passed.", todo=True)
        return
    for decay in (0, 0.9):
        model = new_model(submission, decay=decay)
        model.eval()
        for shape in ((2, 3, 32, 32), (1, 3, 16, 24)):
            loss, x_recon, used = outputs(model, torch.rand(shape) - 0.5)
            expect_tensor(x_recon, shape, "`x_recon`")
            for value, name in ((loss, "loss"), (used, "perplexity")):
                scalar(value, f"The model's {name}")
