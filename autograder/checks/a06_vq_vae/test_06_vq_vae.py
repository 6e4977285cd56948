"""Tasks and checks of `06_vq_vae`."""

from typing import Any

import torch

from autograder.checks.a06_vq_vae import moving_averages, quantizer, vq_networks
from autograder.checks.a06_vq_vae.quantizer import BETA, scalar
from autograder.checks.a06_vq_vae.vq import nearest, perplexity, to_maps, to_rows
from autograder.checks.confirmation import Apart
from autograder.checks.deformed import deformed_photos
from autograder.checks.shared.networks import module_checks
from autograder.checks.training import RemotePart, TrainingSpec, expect_trained
from autograder.checks.vocabulary import (
    NOT_STARTED,
    CheckFailed,
    Mistake,
    Task,
    check,
    expect,
    expect_close,
    expect_grad,
    expect_tensor,
    kind,
)
from autograder.protocol.remote import Affine, Raised, RemoteObject, Submission

TASKS = (
    Task("units", 5, "Units"),
    Task("nearest_code", 10, "Nearest code", parts=("vq_vae",)),
    Task("straight_through", 10, "Straight-through output", parts=("vq_vae",)),
    Task("vq_loss", 15, "Codebook and commitment loss", parts=("vq_vae",)),
    Task("perplexity", 5, "Perplexity", parts=("vq_vae",)),
    Task("ema", 10, "Moving averages", parts=("vq_vae",)),
    Task("residual", 5, "Residual blocks", parts=("encoder", "decoder")),
    Task("encoder", 5, "Encoder", parts=("encoder",)),
    Task("decoder", 5, "Decoder", parts=("decoder",)),
    Task("model", 5, "Whole model", parts=("forward",), uses=("encoder", "vq_vae", "decoder")),
    Task("training", 5, "Training"),
)


# Units


UNITS_SAY = "Use the same units in the numerator and the denominator"

NORMALIZE_MISTAKES = (
    Mistake(
        "range_doubled",
        f"`normalize` maps pixels to [-1, 1]. It should only subtract one half. {UNITS_SAY}: a "
        "range that is twice as wide has four times the variance.",
        lambda x: 2 * x - 1,
    ),
    Mistake(
        "not_shifted",
        "`normalize` returns pixels in [0, 1]. It should return pixels in [−½, ½], so that "
        "grey becomes 0.",
        lambda x: x,
    ),
    Mistake(
        "inverted",
        "`normalize` inverts the images: black becomes white. Subtract one half from the pixels.",
        lambda x: 0.5 - x,
    ),
)

VARIANCE_MISTAKES = (
    Mistake(
        "range_doubled",
        "`data_variance` is four times too large: it is the variance of pixels in [-1, 1]. "
        f"{UNITS_SAY}.",
        lambda x: 4 * x.var(),
    ),
    Mistake(
        "variance_of_bytes",
        f"`data_variance` is the variance of bytes from 0 to 255. {UNITS_SAY}.",
        lambda x: 255**2 * x.var(),
    ),
    Mistake(
        "deviation_for_variance",
        "`data_variance` is the standard deviation. The variance is its square.",
        lambda x: x.std(),
    ),
    Mistake(
        "variance_within_images",
        "`data_variance` is the mean of the variances of single images. It ignores the "
        "differences between images: compute it over all entries together.",
        lambda x: x.flatten(1).var(1).mean(),
    ),
    Mistake(
        "variance_not_centred",
        "`data_variance` is the mean square. Subtract the mean first.",
        lambda x: (x - 0.5).pow(2).mean(),
    ),
)


def photographs(n: int) -> torch.Tensor:
    """Make n colour images of different brightness, (n, 3, 32, 32), in [0, 1]."""
    return 0.6 * torch.rand(n, 1, 1, 1) + 0.4 * torch.rand(n, 3, 32, 32) ** 2


@check("units")
def test_normalize(submission: Submission) -> None:
    """`normalize` shifts images from [0, 1] to [−½, ½]."""
    x = torch.rand(3, 3, 8, 12)
    got = submission.object("normalize")(x)
    got = expect_tensor(got, x.shape, "`normalize(x)`")
    expect_close(got, x - 0.5, "`normalize(x)`", (x,), NORMALIZE_MISTAKES)


@check("units")
def test_data_variance(submission: Submission) -> None:
    """`data_variance` is the variance of all entries together, in units of the model's input."""
    x = photographs(20)
    got = submission.object("data_variance")(x)
    got = torch.tensor(got) if isinstance(got, float) else got
    got = expect_tensor(got, (), "`data_variance(x)`")
    expect_close(got, x.var(), "`data_variance(x)`", (x,), VARIANCE_MISTAKES)


# The whole model, with known linear maps in place of its parts


def new_model(submission: Submission, beta: float = BETA, decay: float = 0) -> RemoteObject:
    """Make a small model."""
    return submission.new("Model", 8, 1, 4, 6, 2, beta, decay)


def cannot_run(submission: Submission, *parts: str) -> bool:
    """Return whether a part has failed, so that the model cannot be tested with its own parts."""
    if not set(parts) & submission.failed:
        return False
    if "model" in submission.failed:
        raise CheckFailed(NOT_STARTED, todo=True)
    return True


MODEL_MISTAKES = (
    Mistake(
        "decodes_unquantized",
        "`forward` decodes the encoder's output itself. The decoder should get the output of "
        "the quantizer.",
        lambda z, by, decode: decode(z),
    ),
    Mistake(
        "squashed",
        "`forward` applies a sigmoid to the decoder's output, which makes negative pixels "
        "impossible. Return the output unchanged.",
        lambda z, by, decode: decode(z @ by).sigmoid(),
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
    if broken:
        model.set_stub("encoder", Affine([torch.randn(192, 8) / 14], (2, 2, 2)))
    by, used, pixels = torch.randn(8, 8), torch.randn(8), torch.randn(8, 192)
    # The first output is z itself: its value is visible if it is used in place of the loss.
    outputs = (Affine([torch.eye(8)]), Affine([by], (2, 2, 2)), Affine([used]), Affine([by]))
    model.set_stub("vq_vae", *outputs)
    model.set_stub("decoder", Affine([pixels], (3, 8, 8)))

    def decode(z: torch.Tensor) -> torch.Tensor:
        return (z.double() @ pixels.double()).unflatten(1, (3, 8, 8))

    for n, mode in ((5, model.train), (5, model.eval), (1, model.eval)):
        mode()
        x = torch.randn(n, 3, 8, 8).requires_grad_()
        got = model(x)
        expect(
            isinstance(got, tuple) and len(got) == 3,
            "`forward` should return the three values (loss, x_recon, perplexity), got "
            f"{kind(got)}.",
        )
        expect(
            not isinstance(got[0], torch.Tensor) or got[0].shape != (n, 3, 8, 8),
            "`forward` returns the reconstruction first; the order is (loss, x_recon, perplexity).",
            "outputs_swapped",
        )
        expect(
            isinstance(got[0], torch.Tensor) and got[0].shape == (n, 8),
            "`loss` should be exactly the loss of the quantizer. The training step adds the "
            "reconstruction error.",
            "loss_not_the_quantizers",
        )
        z = got[0].double()
        x_recon = expect_tensor(got[1], (n, 3, 8, 8), "`x_recon`")
        right = decode(z.detach() @ by.double())
        inputs = (z.detach(), by.double(), decode)
        expect_close(x_recon.detach(), right, "`x_recon`", inputs, MODEL_MISTAKES)
        share = expect_tensor(
            got[2], (n,), "`perplexity`, for a quantizer that returns one per row,"
        )
        expect_close(share.detach(), z.detach() @ used.double(), "`perplexity`")
        expect_grad(x_recon, {"x": x}, "`x_recon`", "encoder_detached")


@check("model")
def test_model_passes_its_sizes_on(submission: Submission) -> None:
    """K, D, β and decay are passed to the quantizer. `decay > 0` selects moving averages."""
    if cannot_run(submission, "encoder", "residual"):
        return
    for decay, name in ((0, "VectorQuantizer"), (0.9, moving_averages.EMA)):
        model = new_model(submission, decay=decay)
        codebook = model.vq_vae.embedding.weight.value()
        expect_tensor(codebook, (6, 2), "The model's codebook, for K = 6 and D = 2,")
        expect(
            has_averages(model) == (decay > 0),
            f"With decay = {decay}, `vq_vae` should be a `{name}`.",
            "decay_ignored",
        )
        if {"nearest_code", "straight_through", "vq_loss", "ema"} & submission.failed:
            continue
        other = new_model(submission, beta=3 * BETA, decay=decay)
        other.load_state_dict(model.state_dict())
        x = torch.randn(3, 3, 16, 8)
        losses = []
        for one in (model, other):
            one.eval()
            losses.append(scalar(one(x)[0], "`loss`"))
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


def has_averages(model: RemoteObject) -> bool:
    """Return whether the model's quantizer has moving averages, as buffers or not."""
    try:
        return isinstance(model.vq_vae.cluster_size.value(), torch.Tensor)
    except Raised:
        return False


@check("model")
def test_model_on_images(submission: Submission) -> None:
    """Images whose sides are multiples of 4 keep their size, also for a batch of one."""
    if cannot_run(submission, "encoder", "residual", "decoder", "nearest_code", "straight_through"):
        return
    for decay in (0, 0.9):
        model = new_model(submission, decay=decay)
        model.eval()
        for shape in ((2, 3, 32, 32), (1, 3, 16, 24)):
            loss, x_recon, used = model(torch.randn(shape))
            expect_tensor(x_recon, shape, "`x_recon`")
            for value, name in ((loss, "vq_loss"), (used, "perplexity")):
                if name not in submission.failed:
                    scalar(value, f"The model's {name.replace('vq_', '')}")


# Training


IN_USE = 4.0


def codebook_and_places(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the codebook of a trained model, and its encoder's output for the quantizer."""
    if isinstance(model, RemoteObject | Apart):
        codebook, given = model.vq_vae.embedding.weight.value(), model.given("vq_vae", x)
        z = given[0] if isinstance(given, tuple) and given else given
    else:
        part = model.vq_vae
        weight = part.remote.embedding.weight if isinstance(part, RemotePart) else None
        codebook = weight.value() if weight is not None else part.embedding.weight.detach()
        z = model.encoder(x)
    shape = (len(x), codebook.shape[1], x.shape[2] // 4, x.shape[3] // 4)
    return codebook, expect_tensor(z, shape, "The quantizer's input").float()


def error_through_the_codebook(model: Any, x: torch.Tensor) -> torch.Tensor:
    """Return the reconstruction loss if only indices reach the decoder; expect enough of them."""
    x = x - 0.5
    codebook, z = codebook_and_places(model, x)
    indices = nearest(to_rows(z), codebook)
    x_recon = model.decoder(to_maps(codebook[indices], z).contiguous())
    used = float(perplexity(torch.nn.functional.one_hot(indices, len(codebook))))
    expect(
        used > IN_USE,
        f"The model uses effectively only {used:.1f} code vectors (perplexity, over {len(x):,} "
        f"images). It should use more than {IN_USE:g}. Are there enough code vectors, and is "
        "their scale that of the encoder's outputs?",
        "codebook_collapsed",
    )
    x_recon = expect_tensor(x_recon, x.shape, "`x_recon`")
    return (x_recon.float() - x).pow(2).mean() / x.var()


SPEC = TrainingSpec(
    model="Model",
    data="photo_patches",
    images=2000,
    epochs=15,
    below=0.15,
    unit="of the data's variance",
    batch=lambda x, labels: (x - 0.5, x.var().expand(len(x), 1, 1, 1)),
    loss=lambda batch, x_recon: ((x_recon - batch[0]) ** 2 / batch[1]).mean(),
    confirm=error_through_the_codebook,
    new_images=deformed_photos,
    below_new=0.3,
    untrained=0.8,
    decoding=("decoder", "vq_vae"),
    sizes=(
        "num_hiddens",
        "num_residual_layers",
        "num_residual_hiddens",
        "num_embeddings",
        "embedding_dim",
        "commitment_cost",
        "decay",
    ),
    confirmed=(
        "With each position replaced by the nearest vector of your codebook, selected by the "
        "grader, and decoded"
    ),
    digits=3,
    data_full="cifar10",
    headline=0.056,
    remark=(
        "0.056 is the value of the published example, after 10,000 updates of 32 images of "
        "CIFAR-10, with 128 channels and 512 vectors of 64. The row above is the notebook's "
        "small model (32 channels, 64 vectors of 4) on the colour images of this machine. "
        "`headlines.md` lists the published sizes."
    ),
)


@check("training")
def test_training(submission: Submission) -> None:
    """Trained from scratch, the loss is below 0.15 after 15 epochs, with over 4 codes in use."""
    cost = submission.value("commitment_cost")
    if not isinstance(cost, int | float):
        raise CheckFailed("`commitment_cost` is not filled in yet.", todo=True)
    expect(
        cost > 0,
        "`commitment_cost` is 0. Hand in a model that is trained with the commitment loss. The "
        "model without it is for the comparison only.",
        "no_commitment",
    )
    expect_trained(submission, TASKS, SPEC)


FAMILIES = (
    quantizer.CHECKS,
    module_checks(moving_averages),
    vq_networks.CHECKS,
)
