# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · What the loss assumes
#
# *Difficulty: ●●●○○ · about 100 minutes · 100 points*
#
# A VAE's loss has a term that says how well an image was redrawn. Some take the binary
# cross-entropy, some the squared error, some add the two, and all get a curve that falls. Which is
# right? The question is badly put: each of them is the logarithm of a *different* distribution of
# pixels, and the choice also decides how much the other term, the KL, counts.
#
# You will build the convolutional VAE of the lecture for grey and colour images, write all three
# losses, train the same model with each, and compare the three **on the same footing**: by
# measures that don't depend on what each was trained with.
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
# anywhere.

# %% setup="imports"
import torch
import torch.nn.functional as F
from torch import nn

from autograder import notebook_checks
from vae_utils import (
    active_units,
    count_parameters,
    load_dataset,
    make_loader,
    model_summary,
    pick_device,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("10_loss_study")

# %% [markdown]
# ## The data
#
# Two sets: MNIST, grey, 28 × 28, and colour images of 32 × 32. `"quick"` takes 3,000 digits and
# 2,000 colour patches cut from two photographs, for 6 epochs: under two minutes on a laptop.
# `"full"` takes all of MNIST and CIFAR-10 (both are downloaded once) for 100 epochs, as the lecture
# asks; with a GPU that takes minutes, without one a night.

# %% run="data"
profile = "quick"

settings = {
    "quick": {"images": (3000, 2000), "epochs": 6, "colour": "photo_patches", "source": "auto"},
    "full": {"images": (None, None), "epochs": 100, "colour": "cifar10", "source": "full"},
}[profile]
device = pick_device()
seed_everything(0)

data = {}
for name, images in zip(("mnist", settings["colour"]), settings["images"], strict=True):
    train = load_dataset(name, source=settings["source"])
    test = load_dataset(name, train=False, source=settings["source"])
    data[name] = (train.subset(images) if images else train), test.subset(500)
grey, colour = data
plot_samples(data[colour][0].images, n=20, title=f"The colour images: {colour}")

# %% [markdown]
# ## The model
#
# **The encoder** halves the image's sides twice, by convolutions with kernel size 3, stride 2 and
# padding 1 (to 32 and then 64 channels, a ReLU after each). Flattened, the features go through a
# linear layer to 256 with a ReLU, and from there by two more linear layers to the mean $\mu$ and
# the log-variance $\log\sigma^2$.
#
# **The decoder** goes back: two linear layers, ReLU after each, then two transposed convolutions
# with kernel size 3, stride 2, padding 1 and output padding 1, a ReLU between them and a sigmoid at
# the end. Both halve and double the sides exactly, and a side of $n$ becomes
#
# $$\frac{n + 2 - 3}{2} + 1 \to \frac{n}{2} \quad\text{(rounded down), and}\quad
# (n - 1) \cdot 2 - 2 + 3 + 1 = 2n.$$
#
# The lecture's version is for one channel of 28 × 28. Yours takes channels and size as arguments,
# so 7 × 7 may stand nowhere in it.
#
# *An erratum.* The lecture's code says that the sigmoid puts out 786 values. 28 · 28 is 784.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: after two convolutions the side is `size // 4`, and so the linear layer takes
#   `64 * (size // 4) ** 2` features. Nothing comes after the two last layers: a mean and a
#   log-variance may have any sign.
# - **decoder**: `nn.Unflatten(1, ...)` undoes the flattening.
# - **reparameterize**: $z = \mu + \sigma\,\varepsilon$ with $\varepsilon \sim \mathcal{N}(0, 1)$,
#   one for each number in z. How do you get from log σ² to σ?
# - **forward**: three lines; what comes out are three tensors.
# </details>


# %% solution="my_encoder"
class Encoder(nn.Module):
    """The encoder of a convolutional VAE. Name its layers as you like.

    Args:
        in_channels: Channels of an image, C: 1 or 3.
        size: Its side, S: 28 or 32.
        latent_dim: Size of the latent code, Z.
    """

    def __init__(self, in_channels=1, size=28, latent_dim=20):
        super().__init__()
        # TODO encoder layers
        ### BEGIN SOLUTION
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 32, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (size // 4) ** 2, 256),
            nn.ReLU(),
        )
        self.mu_layer = nn.Linear(256, latent_dim)
        self.logvar_layer = nn.Linear(256, latent_dim)
        ### END SOLUTION

    def forward(self, x):
        """Encode images.

        Args:
            x: Images in [0, 1], (N, C, S, S).

        Returns:
            The tuple (mu, logvar): means and log-variances log σ², (N, Z) each.
        """
        # TODO encoder forward
        ### BEGIN SOLUTION
        hidden = self.features(x)
        return self.mu_layer(hidden), self.logvar_layer(hidden)
        ### END SOLUTION


# %% solution="my_decoder"
class Decoder(nn.Module):
    """The decoder of a convolutional VAE; arguments as for the encoder."""

    def __init__(self, in_channels=1, size=28, latent_dim=20):
        super().__init__()
        # TODO decoder layers
        ### BEGIN SOLUTION
        side = size // 4
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 256),
            nn.ReLU(),
            nn.Linear(256, 64 * side**2),
            nn.ReLU(),
            nn.Unflatten(1, (64, side, side)),
            nn.ConvTranspose2d(64, 32, kernel_size=3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(
                32, in_channels, kernel_size=3, stride=2, padding=1, output_padding=1
            ),
            nn.Sigmoid(),
        )
        ### END SOLUTION

    def forward(self, z):
        """Decode codes (N, Z) to images (N, C, S, S) with values in [0, 1]."""
        # TODO decoder forward
        ### BEGIN SOLUTION
        return self.layers(z)
        ### END SOLUTION


# %% solution="my_vae"
class VAE(nn.Module):
    """A convolutional VAE; arguments as for the encoder."""

    def __init__(self, in_channels=1, size=28, latent_dim=20):
        super().__init__()
        self.encoder = Encoder(in_channels, size, latent_dim)
        self.decoder = Decoder(in_channels, size, latent_dim)

    def reparameterize(self, mu, logvar):
        """Draw z from N(mu, exp(logvar)) so that gradients reach mu and logvar.

        Args:
            mu: Means, (N, Z).
            logvar: Log-variances log σ², (N, Z).

        Returns:
            One code for each row, (N, Z), on mu's device.
        """
        # TODO reparameterize
        ### BEGIN SOLUTION
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        ### END SOLUTION

    def forward(self, x):
        """Encode, draw a code, decode.

        Calls `self.encoder`, `self.reparameterize` and `self.decoder`.

        Args:
            x: Images in [0, 1], (N, C, S, S).

        Returns:
            The tuple (x_recon, mu, logvar): reconstructions (N, C, S, S), means (N, Z),
            log-variances (N, Z).
        """
        # TODO forward
        ### BEGIN SOLUTION
        mu, logvar = self.encoder(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# The parts are judged one by one, each with known values around it, so that a slip in one place
# costs you nothing elsewhere.

# %% test="encoder"
check("encoder")

# %% test="decoder"
check("decoder")

# %% test="reparameterize"
check("reparameterize")

# %% test="forward"
check("forward")

# %% run="summary"
for channels, size in ((1, 28), (3, 32)):
    model = VAE(channels, size)
    model_summary(model, (channels, size, size))
    print(f"{count_parameters(model):,} trainable parameters for {channels} × {size} × {size}\n")

# %% [markdown]
# ## Three losses
#
# All three are a reconstruction term plus the KL, **summed** within an image and **averaged** over
# the N images of a batch (Kingma & Welling 2014, equation 3). The reconstruction term is
# $-\log p(x \mid z)$, and the decoder's output $\hat{x}$ is a parameter of that distribution:
#
# - **`"bce"`**: each pixel is a coin toss, white with probability $\hat{x}$,
#   $$-\sum_p \big[x_p \log \hat{x}_p + (1 - x_p) \log(1 - \hat{x}_p)\big].$$
# - **`"mse"`**: each pixel is Gaussian, with mean $\hat{x}$ and σ = 1. Without the constant
#   $\tfrac12 \log 2\pi$, which no gradient sees, that is
#   $$\tfrac12 \sum_p (x_p - \hat{x}_p)^2.$$
#   With another σ it would be divided by σ². The plain sum of squares, without the ½, assumes
#   σ² = ½.
# - **`"both"`**: the sum of the two, and one KL. No distribution of pixels has this as its negative
#   logarithm; it is tried because it can be.
#
# The KL is the same in all of them (the same paper, appendix B):
#
# $$D_{KL} = -\tfrac12 \sum_{j=1}^{Z} \big(1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2\big).$$
#
# *An erratum.* The lecture writes ½‖x − x̂‖² in its formula and computes the cross-entropy in its
# code, as if they were the same. Each is right, for another likelihood. (Its code also adds up the
# batch, and divides by the number of images only when it prints. Here the loss itself is the mean.)
#
# <details><summary>A hint</summary>
#
# `F.binary_cross_entropy` averages over everything unless told otherwise. Work the KL of one code
# with μ = 2 and σ = 1 out by hand: it is 2. An `if` for each value of `recon` will do.
# </details>


# %% solution="my_loss"
def loss_fn(x_recon, x, mu, logvar, recon="bce"):
    """The loss of a VAE with one of three reconstruction terms.

    Args:
        x_recon: Reconstructions in [0, 1], (N, C, S, S).
        x: Images in [0, 1], (N, C, S, S).
        mu: Means, (N, Z).
        logvar: Log-variances log σ², (N, Z).
        recon: "bce", "mse" or "both".

    Returns:
        A scalar, in nats: the mean over images of the reconstruction term plus the KL.
    """
    # TODO bce: the binary cross-entropy, pixels summed, images averaged.
    ### BEGIN SOLUTION
    bce = F.binary_cross_entropy(x_recon, x, reduction="sum") / len(x)
    ### END SOLUTION

    # TODO squared_error: half of the squared error, pixels summed, images averaged.
    ### BEGIN SOLUTION
    squared_error = 0.5 * torch.sum((x_recon - x) ** 2) / len(x)
    ### END SOLUTION

    # TODO kl: latents summed, images averaged.
    ### BEGIN SOLUTION
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp()) / len(x)
    ### END SOLUTION

    # TODO loss: put together what `recon` asks for.
    ### BEGIN SOLUTION
    if recon == "bce":
        return bce + kl
    if recon == "mse":
        return squared_error + kl
    if recon == "both":
        return bce + squared_error + kl
    raise ValueError(f"recon is 'bce', 'mse' or 'both', not {recon!r}")
    ### END SOLUTION


# %% test="bce"
check("bce")

# %% test="squared_error"
check("squared_error")

# %% test="kl_divergence"
check("kl_divergence")

# %% test="both"
check("both")

# %% [markdown]
# ## The same footing
#
# A loss of 110 with one formula and of 30 with another says nothing about which model is better:
# the numbers have different units, so to speak. So every model is measured by all of the terms,
# whatever it was trained with. To leave out luck, the code is not drawn: the image of the *mean*
# code, $\hat{x} = g(\mu(x))$, is measured.
#
# <details><summary>A hint</summary>
#
# Switch to eval mode, switch gradients off, then call the model's parts one after the other. You
# may use `loss_fn`: where is the KL zero?
# </details>


# %% solution="my_measure"
def measure(model, x):
    """Measure a model by every term, whatever it was trained with.

    Calls `model.encoder` and `model.decoder`; decodes mu itself, so that the answer is always the
    same.

    Args:
        model: A `VAE`.
        x: Images in [0, 1], (N, C, S, S).

    Returns:
        A dict of three plain numbers, each the mean over the images: "bce", "mse" (half of the
        squared error) and "kl".
    """
    # TODO measure
    ### BEGIN SOLUTION
    model.eval()
    with torch.inference_mode():
        mu, logvar = model.encoder(x)
        x_recon = model.decoder(mu)
        kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
        return {
            "bce": F.binary_cross_entropy(x_recon, x, reduction="sum").item() / len(x),
            "mse": 0.5 * F.mse_loss(x_recon, x, reduction="sum").item() / len(x),
            "kl": kl.item() / len(x),
        }
    ### END SOLUTION


# %% test="measure"
check("measure")

# %% [markdown]
# ## Training
#
# The same model, the same data in the same order, the same first weights, the same optimizer: only
# the loss differs. After each epoch the model is measured on test images.
#
# - **Good**: every curve falls from the first epoch to the last, and goes on falling.
# - **Bad**: a loss stands still from the start. The decoder then draws one and the same mean image,
#   and the KL is near 0.

# %% run="train"
LOSSES = ("bce", "mse", "both")


def train_with(recon, train_set, test_images):
    """Train a new VAE with one loss; returns it, its losses and its measures, one an epoch."""
    seed_everything(0)
    channels, size = train_set.images.shape[1:3]
    model = VAE(channels, size).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = make_loader(train_set, batch_size=32, device=device)
    losses, measures = [], []
    for epoch in range(settings["epochs"]):
        model.train()
        total = 0.0
        for x, _ in progress(loader, f"{recon}, epoch {epoch + 1}/{settings['epochs']}"):
            x_recon, mu, logvar = model(x)
            loss = loss_fn(x_recon, x, mu, logvar, recon)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / len(train_set))
        measures.append(measure(model, test_images))
    return model, losses, measures


models, train_losses, measures = {}, {}, {}
for name, (train_set, test_set) in data.items():
    test_images = (test_set.images / 255).to(device)
    for recon in LOSSES:
        run = train_with(recon, train_set, test_images)
        models[name, recon], train_losses[name, recon], measures[name, recon] = run
        print(f"{name:14} {recon:5} last training loss {train_losses[name, recon][-1]:8.1f}")

# %% [markdown]
# First the training losses, each in its own currency. Don't compare their heights: that "both" is
# the highest only means that it adds up more.

# %% run="loss_curve"
plot_losses(
    {f"trained with {recon}": train_losses[grey, recon] for recon in LOSSES},
    title="Training losses on MNIST, not to be compared",
    y_label="each model's own loss, nats per image",
)

# %% [markdown]
# Now on the same footing: half of the squared error of the same test images, for all three. The
# curve of the model that was trained to make this error small need not be the lowest.

# %% run="same_footing"
plot_losses(
    {f"trained with {r}": [m["mse"] for m in measures[grey, r]] for r in LOSSES},
    title="MNIST: the same measure for all three",
    y_label="½ squared error per test image",
)

# %% [markdown]
# ### The table
#
# Each row is a model, each column the same measure for all of them. Active units are those latents
# whose mean varies over the images (Burda et al. 2016, section 5.2); the others are ignored by the
# decoder. The last row of each block is a perfect copy: its squared error is 0, but its
# cross-entropy isn't, unless every pixel is black or white.

# %% run="table"
print(f"{'data':14} {'trained with':14} {'BCE':>9} {'½ sq. err.':>11} {'KL':>7} {'active':>7}")
for name, (_, test_set) in data.items():
    x = test_set.images / 255
    for recon in LOSSES:
        last = measures[name, recon][-1]
        with torch.no_grad():
            active = int(active_units(models[name, recon].encoder(x.to(device))[0]).sum())
        print(
            f"{name:14} {recon:14} {last['bce']:9.1f} {last['mse']:11.2f} {last['kl']:7.2f}"
            f" {active:4}/20"
        )
    floor = F.binary_cross_entropy(x, x, reduction="sum").item() / len(x)
    print(f"{name:14} {'(perfect copy)':14} {floor:9.1f} {0:11.2f}\n")

# %% [markdown]
# ### The figure
#
# The same images of each set, rich in contrast, redrawn by each model. Look for what is sharp and
# what is soft, and for digits that have become another digit. After few epochs the colour images
# are little more than patches of colour in all three rows; there the table tells more.

# %% run="redrawn"


def as_colour(images):
    """Bring grey 28 × 28 images to 3 × 32 × 32, so that one figure can hold both sets."""
    grown = F.pad(images, (2, 2, 2, 2)) if images.shape[-1] == 28 else images
    return grown.expand(-1, 3, -1, -1).cpu()


def examples(name):
    """Pick six of a set's test images, from those with the most contrast."""
    x = data[name][1].images / 255
    return x[x.flatten(1).std(1).argsort(descending=True)[:60:10]].to(device)


def redraw(model, x):
    """Decode the mean codes of images."""
    with torch.no_grad():
        return model.decoder(model.encoder(x)[0])


rows = {"original": torch.cat([as_colour(examples(name)) for name in data])}
for recon in LOSSES:
    redrawn = [redraw(models[name, recon], examples(name)) for name in data]
    rows[recon] = torch.cat([as_colour(images) for images in redrawn])
plot_reconstructions(rows, n=12, title="Test images, redrawn by models trained with each loss")

# %% [markdown]
# And images that nobody took: the same draws from the prior, decoded by each. Among the grey ones
# some should look like digits, whatever the loss; specks alone would be a bad sign. The colour ones
# stay soft stains: the sets are small, and so is the code.

# %% run="prior_samples"
seed_everything(0)
z = torch.randn(6, 20).to(device)
samples = {}
with torch.no_grad():
    for recon in LOSSES:
        drawn = [models[name, recon].decoder(z) for name in data]
        samples[recon] = torch.cat([as_colour(images) for images in drawn])
plot_reconstructions(samples, n=12, title="The same draws from the prior, decoded by each")

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# What changed between the losses, and why? Refer to your table and your figure. In five to eight
# sentences: what does each reconstruction term assume about a pixel? How large is each beside the
# KL, and what does that do to the codes (their KL, the active units) and to the images? Why does
# the cross-entropy of a colour image not come near 0, and is it still a fair loss there? If you
# could change one number in `"mse"`, which would you change to bring it closer to `"bce"`?

# %% [markdown] answer="what_changed" points=10
# **Rubric**
#
# - 2 points: says what is assumed: black or white by a coin toss (Bernoulli), a Gaussian around the
#   output with σ = 1; "both" belongs to no distribution of pixels.
# - 3 points: explains by the sizes beside the KL: half of a squared error is a far smaller number
#   than a cross-entropy of the same image (σ = 1 is as wide as the whole range of a pixel), so the
#   KL counts for more, fewer nats go into the code, fewer units are active, or less active.
# - 2 points: connects this with table and figure: the model trained with "mse" has the smallest KL
#   and, on digits, the softest images and the larger squared error (!); "both" is nearly "bce",
#   since the cross-entropy dominates the sum.
# - 2 points: colours: the cross-entropy of a grey value with itself is its entropy, far above 0.
#   Its minimum is still at x̂ = x, so it trains well, but it is no log-likelihood of real numbers.
# - 1 point: the σ: a smaller one (or a factor on the KL, which is the same thing).
#
# **A model answer.** "bce" takes each pixel for a coin toss with probability x̂, "mse" for a
# Gaussian around x̂ with σ = 1, and "both" adds two logarithms that belong to different models. A
# standard deviation of 1 is as wide as the whole range of a pixel, so to be wrong costs little: on
# digits ½ of the squared error is around 20 nats, where the cross-entropy is above 100. The KL has
# the same price in each, so with "mse" it doesn't pay to put much into the code: in my table its KL
# is the smallest by far, and its digits are the softest, with a larger squared error than those of
# the model that was never trained on it. "both" lies next to "bce", because the cross-entropy makes
# up most of the sum. On colour images a perfect copy still has a cross-entropy of about a thousand
# nats, the entropy of the grey values themselves; the minimum is in the right place, so it trains
# well, but it isn't the log-likelihood of anything one could observe there. To bring "mse" closer I
# would make σ smaller, 0.2 for example, which multiplies the squared error by 25 beside the KL.
