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
# *Difficulty: ●●●○○ · about 100 minutes · {{total}} points*
#
# One term of a VAE's loss measures how well an image is reconstructed. Some authors use the binary
# cross-entropy, some use the squared error, and some add the two. In all three cases the loss
# decreases during training. Which of them is right? That depends on the pixels. The cross-entropy
# is the negative logarithm of a distribution of **black-and-white** pixels, the Bernoulli
# distribution. Half of the squared error is, except for a constant, the negative logarithm of a
# density of **real numbers**, a Gaussian. The sum of the two is neither. The images here have grey
# and colour values, so only the squared error is a log-likelihood of them. The choice also decides
# how much weight the other term, the KL, has.
#
# You will build the convolutional VAE of a university notebook, the source of this one. It takes
# grey and colour images. You will write all three losses, and train the same model with each of
# them. Then you compare the three models **with the same measures**: the measures do not depend on
# the loss that a model was trained with.
#
# **How to work.** Fill in each `TODO` and run its cell. Then run the `check` below it: it tells you
# what is correct and what is not. Cells without a `TODO` are complete. You can add your own cells
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
# There are two data sets: MNIST, with grey 28 × 28 images, and a set of colour images of 32 × 32
# pixels. The profile `"quick"` uses 3,000 digits and 2,000 colour patches of two photographs, for 6
# epochs. It takes less than two minutes on a laptop. The profile `"full"` uses all of MNIST and
# CIFAR-10 (both are downloaded once) for 100 epochs, as the source requires. It takes minutes with
# a GPU, and a whole night without one.

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
# **The encoder** halves the sides of the image twice. It has two convolutions with kernel size 3,
# stride 2 and padding 1, to 32 and then 64 channels, each followed by a ReLU. The features are
# flattened. A linear layer maps them to 256 features, with a ReLU. Two more linear layers compute
# the mean $\mu$ and the log-variance $\log\sigma^2$ from these.
#
# **The decoder** has two linear layers, each followed by a ReLU, and then two transposed
# convolutions with kernel size 3, stride 2, padding 1 and output padding 1. A ReLU is between the
# two, and a sigmoid is at the end.
#
# A convolution halves a side of $n$ pixels exactly, if $n$ is even. A transposed convolution
# doubles it exactly:
#
# $$\frac{n + 2 - 3}{2} + 1 \to \frac{n}{2} \quad\text{(rounded down), and}\quad
# (n - 1) \cdot 2 - 2 + 3 + 1 = 2n.$$
#
# The source's version is for one channel of 28 × 28. Your version has channels and size as
# arguments, so you must not write a fixed 7 × 7 anywhere.
#
# > **Erratum.** The source's code says that the sigmoid outputs 786 values. The correct number is
# > 28 · 28 = 784.
#
# <details><summary>A hint for each TODO</summary>
#
# - **encoder**: after two convolutions the side is `size // 4`, so the linear layer has
#   `64 * (size // 4) ** 2` input features. Use no activation after the two last layers: a mean and
#   a log-variance can have any sign.
# - **decoder**: `nn.Unflatten(1, ...)` is the reverse of flattening.
# - **reparameterize**: $z = \mu + \sigma\,\varepsilon$ with $\varepsilon \sim \mathcal{N}(0, 1)$,
#   one ε for each number in z. How do you compute σ from log σ²?
# - **forward**: three lines are enough. Return three tensors.
# </details>


# %% solution="my_encoder"
class Encoder(nn.Module):
    """The encoder of a convolutional VAE; you choose the names of its layers.

    Args:
        in_channels: Channels of an image, C: 1 or 3.
        size: Side of an image in pixels, S: 28 or 32.
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
    """The decoder of a convolutional VAE; its arguments are those of the encoder."""

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
        """Decode codes, (N, Z), to images, (N, C, S, S), with values in [0, 1]."""
        # TODO decoder forward
        ### BEGIN SOLUTION
        return self.layers(z)
        ### END SOLUTION


# %% solution="my_vae"
class VAE(nn.Module):
    """A convolutional VAE; its arguments are those of the encoder."""

    def __init__(self, in_channels=1, size=28, latent_dim=20):
        super().__init__()
        self.encoder = Encoder(in_channels, size, latent_dim)
        self.decoder = Decoder(in_channels, size, latent_dim)

    def reparameterize(self, mu, logvar):
        """Sample z from N(mu, exp(logvar)) so that gradients reach mu and logvar.

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
        """Encode images, sample a code for each, and decode it.

        Calls `self.encoder`, `self.reparameterize` and `self.decoder`.

        Args:
            x: Images in [0, 1], (N, C, S, S).

        Returns:
            The tuple (x_recon, mu, logvar): reconstructions, (N, C, S, S); means, (N, Z);
            log-variances, (N, Z).
        """
        # TODO forward
        ### BEGIN SOLUTION
        mu, logvar = self.encoder(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# Each check tests one part and uses known values for the others. An error in one part loses the
# points of that part only.

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
# Each of the three losses is a reconstruction term plus the KL. Both are **summed** within an image
# and **averaged** over the N images of a batch (Kingma & Welling 2014, equation 3). The
# reconstruction term is $-\log p(x \mid z)$, and the decoder's output $\hat{x}$ is a parameter of
# that distribution:
#
# - **`"bce"`**: each pixel is a Bernoulli variable, white with probability $\hat{x}$,
#   $$-\sum_p \big[x_p \log \hat{x}_p + (1 - x_p) \log(1 - \hat{x}_p)\big].$$
# - **`"mse"`**: each pixel is Gaussian with mean $\hat{x}$ and σ = 1. We omit the constant
#   $\tfrac12 \log 2\pi$, which has no gradient:
#   $$\tfrac12 \sum_p (x_p - \hat{x}_p)^2.$$
#   For another σ, this is divided by σ². The plain sum of squares, without the factor ½, assumes
#   σ² = ½.
# - **`"both"`**: the sum of the two terms, and one KL. It is not the negative logarithm of a
#   distribution of pixels, neither of black-and-white nor of grey ones. We include it because some
#   authors use it.
#
# **The cross-entropy of grey values.** For a grey pixel, $\hat{x}^x (1 - \hat{x})^{1 - x}$ is not a
# density: its integral over $x$ from 0 to 1 is not 1. So the cross-entropy is no log-likelihood of
# grey pixels. The missing factor depends on $\hat{x}$. With this normalizing constant, the
# distribution is the *continuous Bernoulli* (Loaiza-Ganem & Cunningham 2019). Without it, the
# cross-entropy is still the mean of $-\log p$ over black-and-white images whose pixels are white
# with probability $x$, and its minimum is still at $\hat{x} = x$. That is why training with it
# works.
#
# The KL is the same in all three losses (the same paper, appendix B):
#
# $$D_{KL} = -\tfrac12 \sum_{j=1}^{Z} \big(1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2\big).$$
#
# > **Erratum.** The source has ½‖x − x̂‖² in its formula and the cross-entropy in its code, as if
# > they were the same. Each of them is right, but for a different likelihood. (The source's code
# > also sums over the batch, and divides by the number of images only in the printed output. Here
# > the loss itself is the mean.)
#
# <details><summary>A hint</summary>
#
# `F.binary_cross_entropy` computes a mean over all elements by default. To test your KL by hand:
# for one code with μ = 2 and σ = 1 it is 2. Use an `if` for each value of `recon`.
# </details>


# %% solution="my_loss"
def loss_fn(x_recon, x, mu, logvar, recon="bce"):
    """Compute the loss of a VAE with one of three reconstruction terms.

    Args:
        x_recon: Reconstructions in [0, 1], (N, C, S, S).
        x: Images in [0, 1], (N, C, S, S).
        mu: Means, (N, Z).
        logvar: Log-variances log σ², (N, Z).
        recon: "bce", "mse" or "both".

    Returns:
        A scalar, in nats: the mean over images of the reconstruction term plus the KL.
    """
    # TODO bce: compute the binary cross-entropy, summed over pixels, averaged over images.
    ### BEGIN SOLUTION
    bce = F.binary_cross_entropy(x_recon, x, reduction="sum") / len(x)
    ### END SOLUTION

    # TODO squared_error: compute ½ of the squared error, summed over pixels, averaged over images.
    ### BEGIN SOLUTION
    squared_error = 0.5 * torch.sum((x_recon - x) ** 2) / len(x)
    ### END SOLUTION

    # TODO kl: compute the KL, summed over latents, averaged over images.
    ### BEGIN SOLUTION
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp()) / len(x)
    ### END SOLUTION

    # TODO loss: return the loss that `recon` names.
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
# Suppose that one loss is 110 and another loss, with a different formula, is 30. These numbers do
# not show which model is better, because they measure different things. We therefore measure every
# model with all three terms, whatever loss it was trained with. To avoid random differences, the
# code is not sampled: we decode the *mean* code, $\hat{x} = g(\mu(x))$, and measure this image.
#
# <details><summary>A hint</summary>
#
# Switch to eval mode and turn gradients off. Then call the model's parts one after the other. You
# can use `loss_fn`: for which `mu` and `logvar` is the KL zero?
# </details>


# %% solution="my_measure"
def measure(model, x):
    """Measure a model with all three terms, whatever loss it was trained with.

    Calls `model.encoder` and `model.decoder`. It decodes mu itself, so the result is always the
    same.

    Args:
        model: A `VAE`.
        x: Images in [0, 1], (N, C, S, S).

    Returns:
        A dict of three plain numbers, each the mean over the images: "bce", "mse" (½ of the
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
# The model, the data and their order, the initial weights and the optimizer are the same in all
# runs. Only the loss is different. After each epoch, the model is measured on test images.
#
# - **Good**: every curve falls from the first epoch to the last, and is still falling at the end.
# - **Bad**: a loss stays the same from the start. The decoder then outputs the same mean image for
#   every input, and the KL is near 0.

# %% run="train"
LOSSES = ("bce", "mse", "both")


def train_with(recon, train_set, test_images):
    """Train a new VAE with one loss.

    Args:
        recon: "bce", "mse" or "both".
        train_set: The images to train on.
        test_images: The images to measure, (N, C, S, S), in [0, 1].

    Returns:
        The tuple (model, losses, measures): the VAE; its training losses, one per epoch; the
        results of `measure`, one per epoch.
    """
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
# First the training losses. Each curve has its own definition of the loss, so do not compare their
# heights. "both" is the highest only because it adds two terms.

# %% run="loss_curve"
plot_losses(
    {f"trained with {recon}": train_losses[grey, recon] for recon in LOSSES},
    title="Training losses on MNIST (three different losses)",
    y_label="each model's own loss, nats per image",
)

# %% [markdown]
# Now the same measure for all three models: half of the squared error on the same test images. The
# model that was trained to minimize this error is not always the lowest.

# %% run="same_footing"
plot_losses(
    {f"trained with {r}": [m["mse"] for m in measures[grey, r]] for r in LOSSES},
    title="MNIST: the same measure for all three",
    y_label="½ squared error per test image",
)

# %% [markdown]
# ### The table
#
# Each row is a model. Each column is the same measure for all models. A latent is an *active unit*
# if its mean varies over the images (Burda et al. 2016, section 5.2). The decoder ignores the other
# latents. The last row of each block is a perfect copy of the images. Its squared error is 0. Its
# cross-entropy is not 0, unless every pixel is black or white.

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
# The figure shows images of both sets with high contrast, and their reconstructions by each model.
# Look at which parts are sharp and which are blurred, and look for digits that have changed into
# another digit. After few epochs, the colour images are only blurred patches of colour in all three
# rows. For them, the table shows more.

# %% run="redrawn"


def as_colour(images):
    """Convert grey 28 × 28 images to 3 × 32 × 32, so that one figure can show both sets."""
    grown = F.pad(images, (2, 2, 2, 2)) if images.shape[-1] == 28 else images
    return grown.expand(-1, 3, -1, -1).cpu()


def examples(name):
    """Select six of the test images with the highest contrast."""
    x = data[name][1].images / 255
    return x[x.flatten(1).std(1).argsort(descending=True)[:60:10]].to(device)


def redraw(model, x):
    """Return the decoded mean codes of images."""
    with torch.no_grad():
        return model.decoder(model.encoder(x)[0])


rows = {"original": torch.cat([as_colour(examples(name)) for name in data])}
for recon in LOSSES:
    redrawn = [redraw(models[name, recon], examples(name)) for name in data]
    rows[recon] = torch.cat([as_colour(images) for images in redrawn])
plot_reconstructions(rows, n=12, title="Test images, reconstructed by the model of each loss")

# %% [markdown]
# The next figure shows new images: the same samples from the prior, decoded by each model. Some of
# the grey images should look like digits, for every loss. If you see only small dots, this is a bad
# sign. The colour images stay blurred patches, because the data sets and the code are small.

# %% run="prior_samples"
seed_everything(0)
z = torch.randn(6, 20).to(device)
samples = {}
with torch.no_grad():
    for recon in LOSSES:
        drawn = [models[name, recon].decoder(z) for name in data]
        samples[recon] = torch.cat([as_colour(images) for images in drawn])
plot_reconstructions(samples, n=12, title="The same samples from the prior, decoded by each model")

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# What changed between the losses, and why? Refer to your table and your figure. Answer in five to
# eight sentences:
#
# - What does each reconstruction term assume about a pixel?
# - How large is each term in comparison with the KL? What is the effect on the codes (their KL, the
#   active units) and on the images?
# - Why is the cross-entropy of a colour image never near 0? Is it still a fair loss there?
# - If you could change one number in `"mse"` to bring it closer to `"bce"`, which number would you
#   change?

# %% [markdown] answer="what_changed" points=10
# **Rubric**
#
# - 2 points: states the assumptions: "bce" assumes black or white pixels (Bernoulli), "mse" a
#   Gaussian around the output with σ = 1; "both" belongs to no distribution of pixels.
# - 3 points: explains the effect of the sizes in comparison with the KL: half of a squared error is
#   a much smaller number than the cross-entropy of the same image (σ = 1 is as wide as the whole
#   range of a pixel). The KL therefore has more weight, the code contains fewer nats, and fewer
#   units are active or they are less active.
# - 2 points: connects this with table and figure: the model trained with "mse" has the smallest KL.
#   On digits, it has the most blurred images and also the larger squared error (!). "both" is close
#   to "bce", because the cross-entropy is most of the sum.
# - 2 points: colours: the cross-entropy of a grey value with itself is its entropy, far above 0.
#   Its minimum is still at x̂ = x, so training works well. But it is not a log-likelihood of real
#   numbers.
# - 1 point: the σ: a smaller one (or a factor on the KL, which has the same effect).
#
# **A model answer.** "bce" assumes that each pixel is a Bernoulli variable with probability x̂.
# "mse" assumes a Gaussian around x̂ with σ = 1. "both" adds two logarithms that belong to different
# models. A standard deviation of 1 is as wide as the whole range of a pixel, so an error costs
# little: on digits, ½ of the squared error is around 20 nats, and the cross-entropy is above 100.
# The KL has the same weight in each loss. With "mse", the gain from more information in the code is
# therefore smaller than its cost. In my table, "mse" has by far the smallest KL. Its digits are the
# most blurred, and its squared error is larger than that of the model that was trained with "bce"
# only. "both" is close to "bce", because the cross-entropy is most of the sum. On colour images, a
# perfect copy still has a cross-entropy of about a thousand nats, the entropy of the grey values
# themselves. The minimum is in the right place, so training works well. But the cross-entropy is
# not the log-likelihood of any data that can be observed there. To bring "mse" closer to "bce", I
# would choose a smaller σ, for example 0.2, which multiplies the squared error by 25 in comparison
# with the KL.

# %% [markdown]
# ## What next
#
# The page *Derivations* of the course's documentation derives the three likelihoods: Gaussian,
# Bernoulli and continuous Bernoulli.
#
# - Loaiza-Ganem & Cunningham 2019, *The continuous Bernoulli: fixing a pervasive error in
#   variational autoencoders*, arXiv:1907.06845. Train with `"bce"` minus the logarithm of its
#   normalizing constant, and compare: PyTorch has `torch.distributions.ContinuousBernoulli`.
# - Alemi et al. 2018, *Fixing a broken ELBO*, arXiv:1711.00464. It plots the reconstruction term
#   against the KL. A factor on one of the two, or another σ, moves a model along a curve.
# - Larsen et al. 2016, *Autoencoding beyond pixels using a learned similarity metric*,
#   arXiv:1512.09300. It compares images by the features of a network instead of pixel by pixel,
#   because an error of pixels prefers blurred images.
