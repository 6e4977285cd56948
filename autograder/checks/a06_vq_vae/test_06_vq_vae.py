"""What `06_vq_vae` is graded on."""

from typing import Any

import torch

from autograder.checks.a06_vq_vae.moving_averages import (
    EMA,
    test_ema_buffers,
    test_ema_device,
    test_ema_gradients,
    test_ema_quantizes_alike,
    test_ema_quantizes_first,
    test_ema_rests_in_eval,
    test_ema_update,
)
from autograder.checks.a06_vq_vae.quantizer import (
    BETA,
    codebook_of,
    expect_encodings,
    expect_loss,
    expect_perplexity,
    expect_pull,
    make_quantizer,
    maps,
    places,
    quantize,
    scalar,
)
from autograder.checks.a06_vq_vae.vq import encode, layouts, nearest, perplexity, to_maps, to_rows
from autograder.checks.a06_vq_vae.vq_networks import (
    test_decoder_range,
    test_decoder_shape,
    test_decoder_uses_the_code,
    test_encoder_sees_the_image,
    test_encoder_shape,
    test_residual_adds_its_input,
    test_residual_corrects,
    test_stack_ends_in_relu,
    test_stack_has_its_own_blocks,
)
from autograder.checks.shared.device import expect_follows_input
from autograder.checks.training import Plan, RemotePart, expect_trained
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


UNITS_SAY = "The same units above and below the line"

NORMALIZE_MISTAKES = (
    Mistake(
        "range_doubled",
        "`normalize` stretches pixels to [-1, 1]; a shift by one half is all. "
        f"{UNITS_SAY}: a range twice as wide has four times the variance.",
        lambda x: 2 * x - 1,
    ),
    Mistake(
        "not_shifted", "`normalize` leaves pixels in [0, 1]; grey should become 0.", lambda x: x
    ),
    Mistake("inverted", "`normalize` turns black into white.", lambda x: 0.5 - x),
)

VARIANCE_MISTAKES = (
    Mistake(
        "range_doubled",
        f"`data_variance` is four times too large: it is that of pixels in [-1, 1]. {UNITS_SAY}.",
        lambda x: 4 * x.var(),
    ),
    Mistake(
        "variance_of_bytes",
        f"`data_variance` is that of bytes from 0 to 255. {UNITS_SAY}.",
        lambda x: 255**2 * x.var(),
    ),
    Mistake(
        "deviation_for_variance",
        "`data_variance` is the standard deviation; the variance is its square.",
        lambda x: x.std(),
    ),
    Mistake(
        "variance_within_images",
        "`data_variance` is the mean of the images' own variances: it misses how images differ.",
        lambda x: x.flatten(1).var(1).mean(),
    ),
    Mistake(
        "variance_not_centred",
        "`data_variance` is a mean square: subtract the mean first.",
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
    """`data_variance` is the variance of all entries together, in the units the model sees."""
    x = photographs(20)
    got = submission.object("data_variance")(x)
    got = torch.tensor(got) if isinstance(got, float) else got
    got = expect_tensor(got, (), "`data_variance(x)`")
    expect_close(got, x.var(), "`data_variance(x)`", (x,), VARIANCE_MISTAKES)


# The quantizer


@check("nearest_code")
def test_nearest_code(submission: Submission) -> None:
    """Each place picks the nearest code vector, whatever H and W; `encodings` says which."""
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2), (3, 2, 4, 1)):
        codebook = codebook_of(9, shape[1])
        z = maps(shape, codebook)
        answer = quantize(make_quantizer(submission, codebook), z)
        expect_encodings(answer, z, codebook)


@check("nearest_code")
def test_nearest_device(submission: Submission) -> None:
    """New tensors are made on the device of those that come in (self-reported)."""
    codebook = codebook_of(9, 4)
    quantizer, z = make_quantizer(submission, codebook), maps((2, 4, 3, 5), codebook)
    expect_follows_input(quantizer, z, name="forward")


@check("nearest_code")
def test_codebook_is_trained(submission: Submission) -> None:
    """The codebook is (K, D), holds different vectors, and is a trainable parameter."""
    quantizer = submission.new("VectorQuantizer", 7, 3, BETA)
    codebook = expect_tensor(
        quantizer.embedding.weight.value(), (7, 3), "The codebook, `embedding.weight`,"
    )
    expect(
        float(codebook.std(0).min()) > 0,
        "All code vectors start out the same: they could never part again.",
    )
    expect(
        "embedding.weight" in quantizer.parameters(),
        "The codebook is no trainable parameter: the optimizer will not find it.",
    )


@check("straight_through")
def test_quantized_is_code(submission: Submission) -> None:
    """`quantized` holds, at each place, the code vector that was picked there."""
    rows_are_right = True
    for shape in ((2, 4, 3, 5), (1, 3, 1, 2)):
        codebook = codebook_of(9, shape[1])
        z = maps(shape, codebook)
        answer = quantize(make_quantizer(submission, codebook), z)
        got = expect_tensor(answer.quantized, shape, "`quantized`")
        picked = answer.picked(codebook, z)
        expect(
            not torch.allclose(got, z.double(), atol=1e-5),
            "`quantized` has the values of z: value and gradient have changed places. Forward it "
            "is the code vector, and only backward it behaves like z.",
            "straight_through_reversed",
        )
        right, *others = layouts(picked, z)
        fits = [torch.allclose(got, layout, atol=1e-4) for layout in (right, *others)]
        # Of two places alone, rows cut wrongly may pick the right codes by chance.
        rows_are_right &= torch.equal(
            torch.as_tensor(answer.encodings).double(), encode(z, codebook)
        )
        # Rows that were cut wrongly fit together again in the same wrong way: one slip, not two.
        if fits[0] or (any(fits) and not rows_are_right):
            continue
        expect(
            not fits[1],
            "`quantized` holds the right code vectors in the wrong places: rows are (N, H, W, D), "
            "and a reshape to (N, D, H, W) moves no axis.",
            "not_permuted_back",
        )
        expect_close(got, right, "`quantized`")


@check("straight_through")
def test_gradient_passes_straight_through(submission: Submission) -> None:
    """Any gradient at `quantized` arrives at z as it is."""
    z, weights = places(8, 4).requires_grad_(), torch.randn(8, 4, 1, 1)
    answer = quantize(make_quantizer(submission, codebook_of(9, 4)), z)
    got = expect_tensor(answer.quantized, z.shape, "`quantized`")
    (grad,) = expect_grad(got * weights, {"z": z}, "`quantized`", "no_straight_through")
    expect(
        float(grad.abs().max()) > 0,
        "The gradient that reaches z from `quantized` is 0: copy it past the argmin.",
        "no_straight_through",
    )
    expect_close(grad, weights, "The gradient at z, for a known one at `quantized`,")


@check("straight_through")
def test_decoder_leaves_codebook(submission: Submission) -> None:
    """The gradient at `quantized` does not reach the codebook: only the codebook loss moves it."""
    z = places(8, 4).requires_grad_()
    quantizer = make_quantizer(submission, codebook_of(9, 4))
    got = expect_tensor(quantize(quantizer, z).quantized, z.shape, "`quantized`")
    if not got.requires_grad:
        return  # Said by the check above.
    got.sum().backward()
    grad = quantizer.embedding.weight.grad.value()
    expect(
        grad is None or float(torch.as_tensor(grad).abs().max()) == 0,
        "The decoder's gradient moves the code vectors too: it should pass them by and reach z "
        "alone.",
        "decoder_moves_codebook",
    )


# The loss


@check("vq_loss")
def test_vq_loss_value(submission: Submission) -> None:
    """The loss is (1 + β) times the mean of (z − e)², over all elements."""
    for n, dim, beta in ((12, 4, BETA), (1, 3, 2.0)):
        z, codebook = places(n, dim), codebook_of(9, dim)
        expect_loss(quantize(make_quantizer(submission, codebook, beta), z), z, codebook, beta)


@check("vq_loss")
def test_vq_loss_is_a_mean_over_places(submission: Submission) -> None:
    """The same holds with several places in an image."""
    # Each image is one constant: the order in which places and channels are cut can't matter.
    z = torch.randn(5, 1, 1, 1).expand(5, 4, 2, 3).contiguous()
    codebook = codebook_of(9, 4)
    expect_loss(quantize(make_quantizer(submission, codebook), z), z, codebook, BETA)


@check("vq_loss")
def test_pull_on_encoder(submission: Submission) -> None:
    """The loss pulls z towards its code vector, with weight β: its gradient is 2β (z − e) / n."""
    expect_pull(submission, 0, BETA, "The gradient of the loss at z, times n / 2,")


@check("vq_loss")
def test_pull_on_codebook(submission: Submission) -> None:
    """The loss pulls each code vector towards its z, with weight 1: 2 (e − z) / n, added up."""
    expect_pull(submission, 1, 1.0, "The gradient of the loss at the codebook, times n / 2,")


# Perplexity


USES = ((3, 1), (4,), (2, 2, 2, 2, 2), (7, 3, 1, 1))


@check("perplexity")
def test_perplexity(submission: Submission) -> None:
    """Two code vectors used 3 : 1 give 1.755, a single one 1, and K used alike K."""
    for uses in USES:
        codebook = codebook_of(5, 3)
        chosen = torch.repeat_interleave(torch.arange(len(uses)), torch.tensor(uses))
        z = codebook[chosen][:, :, None, None]
        answer = quantize(make_quantizer(submission, codebook), z)
        expect_perplexity(answer, z, codebook)


# The whole model, with known linear maps in the place of its parts


def new_model(submission: Submission, beta: float = BETA, decay: float = 0) -> RemoteObject:
    """Make a small model."""
    return submission.new("Model", 8, 1, 4, 6, 2, beta, decay)


def cannot_run(submission: Submission, *parts: str) -> bool:
    """Say whether a part has failed, so that the model can't be judged with its own ones."""
    if not set(parts) & submission.failed:
        return False
    if "model" in submission.failed:
        raise CheckFailed(NOT_STARTED, todo=True)
    return True


MODEL_MISTAKES = (
    Mistake(
        "decodes_unquantized",
        "`forward` decodes the encoder's output itself: the decoder should see what the quantizer "
        "made of it, and nothing else.",
        lambda z, by, decode: decode(z),
    ),
    Mistake(
        "squashed",
        "`forward` applies a sigmoid to what the decoder gives: negative pixels are out of reach.",
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
        model.plug("encoder", Affine([torch.randn(192, 8) / 14], (2, 2, 2)))
    by, used, pixels = torch.randn(8, 8), torch.randn(8), torch.randn(8, 192)
    # The first output is z itself: so it can be read off where the loss should be.
    outputs = (Affine([torch.eye(8)]), Affine([by], (2, 2, 2)), Affine([used]), Affine([by]))
    model.plug("vq_vae", *outputs)
    model.plug("decoder", Affine([pixels], (3, 8, 8)))

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
            "`loss` should be just what the quantizer gives as its loss; the reconstruction's part "
            "is added in the training step.",
            "loss_not_the_quantizers",
        )
        z = got[0].double()
        x_recon = expect_tensor(got[1], (n, 3, 8, 8), "`x_recon`")
        right = decode(z.detach() @ by.double())
        inputs = (z.detach(), by.double(), decode)
        expect_close(x_recon.detach(), right, "`x_recon`", inputs, MODEL_MISTAKES)
        share = expect_tensor(got[2], (n,), "`perplexity`, for a quantizer that gives one per row,")
        expect_close(share.detach(), z.detach() @ used.double(), "`perplexity`")
        expect_grad(x_recon, {"x": x}, "`x_recon`", "encoder_detached")


@check("model")
def test_model_passes_its_sizes_on(submission: Submission) -> None:
    """K, D, β and decay reach the quantizer, and `decay > 0` chooses moving averages."""
    if cannot_run(submission, "encoder", "residual"):
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
        if {"nearest_code", "straight_through", "vq_loss", "ema"} & submission.failed:
            continue
        other = new_model(submission, beta=3 * BETA, decay=decay)
        other.load_state_dict(model.state_dict())
        x = torch.randn(3, 3, 16, 8)
        losses = []
        for one in (model, other):
            one.eval()
            losses.append(scalar(one(x)[0], "`loss`"))
        # The codebook loss, where there is one, doesn't follow β.
        own = 0.0 if decay else 1.0
        ratio = torch.tensor((own + 3 * BETA) / (own + BETA))
        expect(
            not torch.equal(losses[0], losses[1]),
            "Another `commitment_cost` leaves the loss as it is: is it passed on to the quantizer?",
            "commitment_not_passed",
        )
        expect_close(losses[1] / losses[0], ratio, "The loss for 3β over that for β")
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
    """Say whether the model's quantizer keeps moving averages, saved with it or not."""
    try:
        return isinstance(model.vq_vae.cluster_size.value(), torch.Tensor)
    except Raised:
        return False


@check("model")
def test_model_on_images(submission: Submission) -> None:
    """Images of any size in multiples of 4 come back in their own size, one alone included."""
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
    """Find a trained model's codebook, and what its encoder gives to the quantizer."""
    if isinstance(model, RemoteObject):
        codebook, given = model.vq_vae.embedding.weight.value(), model.given("vq_vae", x)
        z = given[0] if isinstance(given, tuple) and given else given
    else:
        part = model.vq_vae
        weight = part.remote.embedding.weight if isinstance(part, RemotePart) else None
        codebook = weight.value() if weight is not None else part.embedding.weight.detach()
        z = model.encoder(x)
    shape = (len(x), codebook.shape[1], x.shape[2] // 4, x.shape[3] // 4)
    return codebook, expect_tensor(z, shape, "What the quantizer is given").float()


def error_through_the_codebook(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The reconstruction loss when indices alone pass to the decoder; expects enough of them."""
    x = x - 0.5
    codebook, z = codebook_and_places(model, x)
    indices = nearest(to_rows(z), codebook)
    x_recon = model.decoder(to_maps(codebook[indices], z).contiguous())
    used = float(perplexity(torch.nn.functional.one_hot(indices, len(codebook))))
    expect(
        used > IN_USE,
        f"Only {used:.1f} code vectors are in use, in effect (perplexity, over {len(x):,} images); "
        f"it should be more than {IN_USE:g}. Are there enough of them, and of the same size as the "
        "encoder's outputs?",
        "codebook_collapsed",
    )
    x_recon = expect_tensor(x_recon, x.shape, "`x_recon`")
    return (x_recon.float() - x).pow(2).mean() / x.var()


PLAN = Plan(
    model="Model",
    data="photo_patches",
    images=2000,
    epochs=15,
    below=0.15,
    unit="of the data's variance",
    batch=lambda x, labels: (x - 0.5, x.var().expand(len(x), 1, 1, 1)),
    loss=lambda batch, x_recon: ((x_recon - batch[0]) ** 2 / batch[1]).mean(),
    confirm=error_through_the_codebook,
    sizes=(
        "num_hiddens",
        "num_residual_layers",
        "num_residual_hiddens",
        "num_embeddings",
        "embedding_dim",
        "commitment_cost",
        "decay",
    ),
    confirmed="With each place replaced by the grader's own pick from your codebook, and decoded",
    digits=3,
    data_full="cifar10",
    headline=0.056,
    remark=(
        "0.056 is the published example's, after 10,000 updates of 32 images of CIFAR-10, with 128 "
        "channels and 512 vectors of 64. The row above is the notebook's small model (32 channels, "
        "64 vectors of 4) on the colour images that the machine had; `headlines.md` has the "
        "published sizes."
    ),
)


@check("training")
def test_training(submission: Submission) -> None:
    """Trained from scratch, the loss falls below 0.15 in 15 epochs, with over 4 codes in use."""
    cost = submission.value("commitment_cost")
    if not isinstance(cost, int | float):
        raise CheckFailed("`commitment_cost` is not filled in yet.", todo=True)
    expect(
        cost > 0,
        "`commitment_cost` is 0: hand in a model that is trained with the commitment loss, and "
        "keep the one without it for the comparison.",
        "no_commitment",
    )
    expect_trained(submission, TASKS, PLAN)
