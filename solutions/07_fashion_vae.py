# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Clothes from convolutions
#
# *Difficulty: ●●●●○ · about 120 minutes · 100 points*
#
# A shirt moved by two pixels is the same shirt. A fully connected network has to learn that anew
# for every place; a **convolution** knows it from the start, because it looks for the same small
# patterns everywhere. Here you build a variational autoencoder from two convolutions and their
# transposes, train it on pictures of clothes, and then take its latent space apart: which numbers
# of the code vary most, do they follow the normal distribution that the loss asks for, and what
# does each of them change in the picture?
#
# | what counts | limit |
# | --- | --- |
# | sizes | any channels `c1`, `c2`, any latent size `lat`; kernels of side `k` = 3 and `k` = 5 |
# | training loss, in nats per image | below 265 within 5 epochs, on the course's small set |
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
# anywhere.
#
# > **Errata.** The sheet that this assignment comes from has a few slips: it writes `kern3l`,
# > numbers two items alike, and some of its formulas are off. Where you meet one of those, a box
# > like this says what is right.

# %% setup="imports"
import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm
from torch import nn

from autograder import notebook_checks
from vae_utils import (
    count_parameters,
    load_dataset,
    make_loader,
    model_summary,
    plot_losses,
    plot_manifold,
    plot_marginal,
    plot_prior_samples,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("07_fashion_vae")

# %% [markdown]
# ## Before you build: why a "lower bound"? (10 points, read by a person)
#
# For an image $x$, a model $p_\theta$ and any guess $q_\phi(z \mid x)$ at its code,
#
# $$\log p_\theta(x) = \mathcal{L}_{\theta,\phi}(x) +
# D_{KL}\big(q_\phi(z \mid x)\,\|\,p_\theta(z \mid x)\big),$$
#
# where $\mathcal{L}$ is the ELBO, the **evidence lower bound** (Kingma & Welling 2014, equation 1).
# Rewrite this equation so that the name explains itself. In three to five sentences: what is the
# evidence, why is $\mathcal{L}$ never above it, when does it equal it, and why does training work
# with $\mathcal{L}$ instead of the evidence?

# %% [markdown] answer="lower_bound" points=10
# **Rubric**
#
# - 3 points: solves for the ELBO, $\mathcal{L} = \log p_\theta(x) - D_{KL}(q \,\|\, p)$, and names
#   $\log p_\theta(x)$, the log-probability of what was observed, as the evidence.
# - 3 points: a KL divergence is never negative, hence $\mathcal{L} \le \log p_\theta(x)$.
# - 2 points: equality exactly where the guess is the true posterior,
#   $q_\phi(z \mid x) = p_\theta(z \mid x)$.
# - 2 points: the evidence needs an integral over all codes, and the gap needs the true posterior,
#   neither of which can be computed, while $\mathcal{L}$ can be estimated with draws from $q$.
#   Raising it raises a guaranteed value of the evidence, or closes the gap.
#
# **A model answer.** Solved for its first term, the equation reads
# $\mathcal{L}_{\theta,\phi}(x) = \log p_\theta(x) - D_{KL}(q_\phi(z \mid x) \,\|\,
# p_\theta(z \mid x))$. The evidence is $\log p_\theta(x)$: how probable the model finds the image
# that we have in fact seen. From it something is taken away that is never negative, so the ELBO
# lies below the evidence, or touches it when $q_\phi(z \mid x)$ is exactly the true posterior
# $p_\theta(z \mid x)$ and the divergence is 0. The evidence itself would take an integral over all
# codes, which nobody can compute; the ELBO is an average over draws from $q_\phi$, which we can
# estimate. If it goes up, then either the evidence has gone up or the guess has come closer to the
# true posterior, and both are welcome.

# %% [markdown]
# ## The data
#
# Fashion-MNIST: grey 28 × 28 pictures of ten kinds of clothes, already parted into a training and a
# test set. A small part of it comes with the course; set `source = "full"` for all 60,000 (they are
# downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("fashion_mnist", source=source)
test_set = load_dataset("fashion_mnist", train=False, source=source)
plot_samples(
    train_set.images,
    train_set.labels,
    n=20,
    title="Fashion-MNIST, as the model sees it",
    class_names=train_set.classes,
)

# %% [markdown]
# ## The encoder
#
# The encoder maps an image to the mean $\mu$ and the standard deviation $\sigma$ of a Gaussian over
# codes,
#
# $$q_\phi(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big).$$
#
# Two convolutions with $k \times k$ kernels and **no padding** come first, each followed by a ReLU;
# then the features of each image are laid out in a row, and two linear layers side by side make
# $\mu$ and $\log\sigma$ of them. The exponential of the second is what you return: **here σ itself
# leaves the encoder**, not its logarithm.
#
# How long is the row? A $k \times k$ kernel fits into $d$ pixels at $d - (k - 1)$ places, so every
# convolution takes $k - 1$ pixels off each side's length. After two of them there are
#
# $$c_2 \cdot \big(d - 2\,(k - 1)\big)^2$$
#
# features: $c_2$ channels of $24 \times 24$ for $d = 28$ and $k = 3$.
#
# > **Erratum.** The sheet prints $c \cdot (d - (k-1))^2$: that is the size after *one* convolution.
#
# <details><summary>Hints</summary>
#
# - The first convolution sees one channel: the images are grey.
# - Work the row's length out from `c2` and `k` in the constructor. A number typed in for `k = 3` is
#   wrong for `k = 5`.
# - `flatten(1)` keeps the images of a batch apart.
# </details>


# %% solution="my_encoder"
class Encoder(nn.Module):
    """Images to the parameters of q(z | x).

    Args:
        c1: Channels after the first convolution.
        c2: Channels after the second convolution.
        lat: Size of the latent code, Z.
        k: Side of the square kernels.
    """

    def __init__(self, c1, c2, lat, k):
        super().__init__()
        # TODO encoder layers: two nn.Conv2d without padding, an nn.Linear each for mu and sigma.
        ### BEGIN SOLUTION
        features = c2 * (28 - 2 * (k - 1)) ** 2
        self.conv1 = nn.Conv2d(1, c1, k)
        self.conv2 = nn.Conv2d(c1, c2, k)
        self.mean = nn.Linear(features, lat)
        self.std = nn.Linear(features, lat)
        ### END SOLUTION

    def forward(self, x):
        """Encode images.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].

        Returns:
            The tuple (mu, sigma): means and standard deviations, (N, Z) each; sigma is positive.
        """
        # TODO encoder
        ### BEGIN SOLUTION
        hidden = F.relu(self.conv1(x))  # (N, c1, 28 - (k - 1), ...)
        hidden = F.relu(self.conv2(hidden)).flatten(1)  # (N, features)
        return self.mean(hidden), torch.exp(self.std(hidden))
        ### END SOLUTION


# %% test="encoder"
check("encoder")

# %% [markdown]
# ## The decoder
#
# The way back, step by step: a **linear layer** from the code to $c_2 \cdot (d - 2(k-1))^2$
# features, a ReLU, the row folded up into $c_2$ channels again, then two transposed convolutions.
# A transposed convolution without padding *adds* $k - 1$ to each side's length, so the image grows
# back to 28 × 28 while its channels go $c_2 \to c_1 \to 1$. A ReLU follows the first of them and a
# sigmoid the last: what comes out is the probability of white for each pixel, $p_\theta(x \mid z)$.
#
# > **Errata.** The sheet applies the ReLU to $z$ itself and folds that up. The linear layer comes
# > first: $z$ has far too few numbers to be folded, and a ReLU on it would throw away its sign.
# > The sheet also lets the last layer put out $c_1$ channels; the picture has one.
#
# <details><summary>Hints</summary>
#
# - `nn.ConvTranspose2d(channels in, channels out, kernel)`.
# - `unflatten(1, (channels, height, width))` folds rows up, whatever the batch size.
# - `forward` needs the folded shape, so keep it in the constructor.
# </details>


# %% solution="my_decoder"
class Decoder(nn.Module):
    """Codes to images: the encoder's way, backwards.

    Args:
        c1: Channels after the encoder's first convolution.
        c2: Channels after the encoder's second convolution.
        lat: Size of the latent code, Z.
        k: Side of the square kernels.
    """

    def __init__(self, c1, c2, lat, k):
        super().__init__()
        # TODO decoder layers: an nn.Linear and two nn.ConvTranspose2d.
        ### BEGIN SOLUTION
        side = 28 - 2 * (k - 1)
        self.folded = (c2, side, side)
        self.linear = nn.Linear(lat, c2 * side**2)
        self.conv1 = nn.ConvTranspose2d(c2, c1, k)
        self.conv2 = nn.ConvTranspose2d(c1, 1, k)
        ### END SOLUTION

    def forward(self, z):
        """Decode codes.

        Args:
            z: Codes, (N, Z).

        Returns:
            Images, (N, 1, 28, 28), in [0, 1].
        """
        # TODO decoder
        ### BEGIN SOLUTION
        hidden = F.relu(self.linear(z)).unflatten(1, self.folded)  # (N, c2, side, side)
        hidden = F.relu(self.conv1(hidden))  # (N, c1, side + (k - 1), ...)
        return torch.sigmoid(self.conv2(hidden))
        ### END SOLUTION


# %% test="decoder"
check("decoder")

# %% [markdown]
# ## The VAE
#
# **The loss** is the negative ELBO with the prior $p(z) = \mathcal{N}(0, I)$ (Kingma & Welling
# 2014, equation 3), here as a **total sum**: over pixels or latents, and over the images of the
# batch too. Twice the images give twice the loss. With $y$ for the image and $x$ for the decoder's
# output, the reconstruction term is the binary cross-entropy
#
# $$-\sum_{\text{images}} \sum_{\text{pixels}}
# \big[\,y \odot \log x + (1 - y) \odot \log(1 - x)\,\big].$$
#
# > **Erratum.** The sheet has $x$ and $y$ the other way round inside the logarithms. The logarithm
# > is of the output: the image has pixels that are exactly 0, and log 0 is minus infinity. In the
# > contract here, as in the sheet's own words, `r_loss(x, y)` takes the output first.
#
# The KL divergence from the prior (appendix B there), with $\sigma$ for the standard deviation:
#
# $$D_{KL} = \sum_{\text{images}} \sum_{j=1}^{Z}
# \Big[\tfrac12 \big(\mu_j^2 + \sigma_j^2 - 1\big) - \log\sigma_j\Big].$$
#
# > **Erratum.** The sheet prints $\mu^2 + \sigma^2 - \log\sigma - \tfrac12$. That is ½ where the KL
# > is 0, at μ = 0 and σ = 1, and it is smallest at σ = 1/√2: training with it would make every
# > cloud narrower than the prior.
#
# **The draw** is reparameterized so that gradients pass through it (section 2.4 there):
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **Forward and backward.** `forward` encodes, draws, decodes, stores the total loss in `self.loss`
# and returns the decoder's output alone. `backward` starts backpropagation from that loss.
#
# <details><summary>Hints</summary>
#
# - **r_loss**: `F.binary_cross_entropy` averages unless told otherwise.
# - **kl_loss**: by hand, for one code with μ = 2 and σ = 1, it is 2. With μ = 0 and σ = 2 it is
#   1.5 − log 2 ≈ 0.807.
# - **gaussian**: σ is what comes in. There is no exponential left to take.
# - **forward**: inside it, the names change sides. What it gets as `x` is what `r_loss` calls `y`.
# </details>


# %% solution="my_vae"
class VAE(nn.Module):
    """A convolutional variational autoencoder for 28 × 28 images.

    Args:
        c1: Channels after the first convolution.
        c2: Channels after the second convolution.
        lat: Size of the latent code, Z.
        k: Side of the square kernels.

    Attributes:
        encoder: An `Encoder` of these sizes.
        decoder: A `Decoder` of these sizes.
        loss: The loss of the last batch that `forward` was called with, a scalar.
    """

    def __init__(self, c1, c2, lat, k):
        super().__init__()
        # TODO encoder and decoder
        ### BEGIN SOLUTION
        self.encoder = Encoder(c1, c2, lat, k)
        self.decoder = Decoder(c1, c2, lat, k)
        ### END SOLUTION

    def r_loss(self, x, y):
        """The reconstruction loss, in nats.

        Args:
            x: What the decoder puts out, (N, 1, 28, 28), in [0, 1].
            y: The images that it should have been, (N, 1, 28, 28), in [0, 1].

        Returns:
            A scalar: the binary cross-entropy, summed over pixels and images.
        """
        # TODO r_loss
        ### BEGIN SOLUTION
        return F.binary_cross_entropy(x, y, reduction="sum")
        ### END SOLUTION

    def kl_loss(self, mu, sigma):
        """The KL divergence from N(mu, sigma²) to N(0, I), in nats.

        Args:
            mu: Means, (N, Z).
            sigma: Standard deviations, (N, Z), positive.

        Returns:
            A scalar: summed over latents and images.
        """
        # TODO kl_loss
        ### BEGIN SOLUTION
        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - torch.log(sigma))
        ### END SOLUTION

    def gaussian(self, mu, sigma):
        """Draw z from N(mu, sigma²) so that gradients reach mu and sigma.

        Args:
            mu: Means, (N, Z).
            sigma: Standard deviations, (N, Z).

        Returns:
            One code for each row, (N, Z), on mu's device.
        """
        # TODO gaussian
        ### BEGIN SOLUTION
        return mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

    def forward(self, x):
        """Encode, draw, decode, and store the total loss in `self.loss`.

        Calls `self.encoder`, `self.gaussian`, `self.decoder`, `self.r_loss` and `self.kl_loss`.

        Args:
            x: Images, (N, 1, 28, 28), in [0, 1].

        Returns:
            The decoder's output alone, (N, 1, 28, 28).
        """
        # TODO forward
        ### BEGIN SOLUTION
        mu, sigma = self.encoder(x)
        output = self.decoder(self.gaussian(mu, sigma))
        self.loss = self.r_loss(output, x) + self.kl_loss(mu, sigma)
        return output
        ### END SOLUTION

    def backward(self):
        """Backpropagate from the loss that `forward` has stored."""
        # TODO backward
        ### BEGIN SOLUTION
        self.loss.backward()
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# Each part is judged with known values around it, so that a slip in one costs you nothing in the
# others. Correct the class above, run its cell again, and check again.

# %% test="r_loss"
check("r_loss")

# %% test="kl_loss"
check("kl_loss")

# %% test="gaussian"
check("gaussian")

# %% test="forward"
check("forward")

# %% [markdown]
# ## Training
#
# Channels of 16 and 32 with a kernel of 3 and 20 latents work well, and batches of 16 or 32.
# Convolutions take their time: expect several seconds for each epoch.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
c1 = 16
c2 = 32
lat = 20
k = 3
batch_size = 16
n_epochs = 5
### END SOLUTION

model = VAE(c1, c2, lat, k)

# TODO optimizer: Adam, over the model's parameters; a step of 0.001 suits it.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
### END SOLUTION

# %% run="summary"
model_summary(VAE(c1, c2, lat, k), (1, 28, 28))  # a fresh one: no loss hangs on it yet
print(f"{count_parameters(model):,} trainable parameters; there is no budget here.")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """One step downhill on the loss of a batch.

    Returns:
        The loss in nats per image, and what it was computed from: the output (N, 1, 28, 28), mu
        and sigma (N, Z).
    """
    optimizer.zero_grad()
    output = model(x)
    with torch.no_grad():  # once more, since `forward` keeps only the sum
        mu, sigma = model.encoder(x)
    model.backward()
    optimizer.step()
    return model.loss / len(x), output, mu, sigma


# %% run="train"
train_losses, kl_terms = [], []
loader = make_loader(train_set, batch_size)
for epoch in range(n_epochs):
    total = total_kl = 0.0
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, _, mu, sigma = train_step(model, optimizer, x)
        total += loss.item() * len(x)
        total_kl += model.kl_loss(mu, sigma).item()
    train_losses.append(total / len(train_set))
    kl_terms.append(total_kl / len(train_set))
    print(f"epoch {epoch + 1}: {train_losses[-1]:.1f} nats, KL {kl_terms[-1]:.1f} of them")

# %% [markdown]
# A good run starts near 310, passes 265 in its second or third epoch and ends near 250. Most of
# that is not error but greyness: a pixel of 0.5 costs 0.69 nats even when it is predicted exactly,
# and perfect reconstructions of these images would still cost 188. A loss that stays at 384 means
# that the codes say nothing: it is what you get for answering with the mean of all images.

# %% run="loss_curve"
plot_losses(
    {
        "training": train_losses,
        "reconstruction": [loss - kl for loss, kl in zip(train_losses, kl_terms, strict=True)],
        "KL": kl_terms,
    },
    threshold=265,
    title="Training: the loss and its two terms",
    y_label="nats per image",
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own images.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# Clothes that it never saw in training: shapes and shades come back, prints and seams do not.

# %% run="reconstructions"
model.eval()
test_images = test_set.images / 255
with torch.no_grad():
    restored = model(test_images)
print(f"on the test set: {model.loss.item() / len(test_images):.1f} nats per image")
plot_reconstructions(
    {"original": test_images, "reconstruction": restored},
    labels=test_set.labels,
    class_names=test_set.classes,
)

# %% [markdown]
# Codes drawn from the prior, without any image, decode to clothes that nobody has sewn. Expect
# some garments and bags, and as many in which one thing has grown into another: 20 numbers have
# more combinations than five epochs on a small set can make sense of.

# %% run="prior_samples"
plot_prior_samples(model.decoder, lat, n=20)

# %% [markdown]
# ## Which latents vary most?
#
# Encode the test images and draw a code for each: N codes of Z numbers. Over the images, each of
# the Z dimensions has a variance,
#
# $$s_j^2 = \frac{1}{N} \sum_{n=1}^{N} \big(z_{nj} - \bar z_j\big)^2.$$
#
# Find the two dimensions in which it is largest.
#
# <details><summary>Hints</summary>
#
# - Which axis are the images on? A variance for each dimension is taken along that one.
# - `torch.as_tensor` takes tensors and NumPy arrays alike; `argsort` can go downwards.
# </details>

# %% run="embeddings"
seed_everything(1)
with torch.no_grad():
    mu, sigma = model.encoder(test_images)
    embeddings = model.gaussian(mu, sigma)


# %% solution="my_top_two_dims"
def top_two_dims(embeddings):
    """Find the two dimensions with the highest variance over the rows.

    Args:
        embeddings: Codes, (N, Z), a tensor or a NumPy array; N and Z are at least 2.

    Returns:
        Two integers, each from 0 to Z - 1, the dimension with the highest variance first.
    """
    # TODO top_two_dims
    ### BEGIN SOLUTION
    variances = torch.as_tensor(embeddings).var(dim=0)
    first, second = variances.argsort(descending=True)[:2].tolist()
    return first, second
    ### END SOLUTION


# %% test="top_two_dims"
check("top_two_dims")

# %% run="chosen"
first, second = (int(dim) for dim in top_two_dims(embeddings))
for dim in (first, second):
    print(
        f"latent {dim}: variance {embeddings[:, dim].var().item():.2f}, "
        f"of which the means have {mu[:, dim].var().item():.2f}"
    )

# %% [markdown]
# ### Are they normal?
#
# The KL asks all clouds together to fill $\mathcal{N}(0, I)$. Count the codes in the plane of your
# two dimensions, in 50 × 50 bins. If the loss got its way, the counts are centred on 0, round, and
# thin out as the circles do, which are the prior's at 1, 2 and 3 standard deviations. Expect a
# cloud that keeps the prior's centre and size but not quite its shape: each kind of clothing has
# its own place in it, and there may be a gap between two of them. A cloud far from 0, or squeezed
# into a tenth of the circle, would point to the KL.

# %% run="marginal"
plot_marginal(embeddings, dims=(first, second), bins=50)

# %% [markdown]
# ## What does one latent change?
#
# Take a code of zeros, the middle of the prior, and change a single number of it. Which values are
# worth a look? Steps of **equal distance** spend as many pictures on the prior's thin tails as on
# its middle. Steps of **equal probability** put them where the codes are: take 7 evenly spaced
# probabilities from 0.05 to 0.95, and for each the value below which a standard normal falls with
# that probability. This inverse of the distribution function is `norm.ppf` in SciPy.
#
# <details><summary>Hints</summary>
#
# - Half of all draws lie below 0, so the value in the middle is 0. The first is −1.645.
# - Why not from 0 to 1? Ask for `norm.ppf(0)`.
# </details>

# %% solution="my_values"
# TODO values: the 7 values, an array (7,), in ascending order.
### BEGIN SOLUTION
values = norm.ppf(np.linspace(0.05, 0.95, 7))
### END SOLUTION

# %% test="quantiles"
check("quantiles")

# %% [markdown]
# Now make the codes and decode them. How long is a code? Ask the decoder: its first linear layer
# knows.
#
# <details><summary>Hints</summary>
#
# - `decoder.modules()` goes through all layers in order, however deep they lie; a linear layer has
#   `in_features`.
# - Start from zeros and fill one column. SciPy's numbers are float64, the decoder's weights aren't.
# </details>


# %% solution="my_perturb"
def perturb(decoder, dim, values):
    """Decode codes that are 0 everywhere but in one dimension.

    Args:
        decoder: A `Decoder`; its first linear layer tells the latent size Z.
        dim: The dimension to change, from 0 to Z - 1.
        values: What to put there, an array (n,) such as SciPy gives it: float64.

    Returns:
        One image for each value, in order, (n, 1, 28, 28).
    """
    # TODO perturb
    ### BEGIN SOLUTION
    linear = next(m for m in decoder.modules() if isinstance(m, nn.Linear))
    codes = linear.weight.new_zeros(len(values), linear.in_features)
    codes[:, dim] = torch.as_tensor(values).to(codes)
    with torch.no_grad():
        return decoder(codes)
    ### END SOLUTION


# %% test="perturb"
check("perturb")

# %% [markdown]
# Each row should change steadily from one end to the other, and in one way: longer, brighter, from
# shirt to shoe. Seven pictures that look the same belong to a latent that the decoder ignores.

# %% run="strips"
plot_reconstructions(
    {f"latent {dim}": perturb(model.decoder, dim, values) for dim in (first, second)},
    labels=np.arange(len(values)),
    class_names=[f"{value:z.2f}" for value in values],
    title="One latent at quantiles of N(0, 1), all others 0",
)

# %% [markdown]
# ### Both at once
#
# The sheet's bonus, done for you: both dimensions on the same 7 values, 49 codes in all. Follow a
# row, then a column, and the two strips are in it, crossing in the middle.

# %% run="grid"
plot_manifold(model.decoder, lat, dims=(first, second))
