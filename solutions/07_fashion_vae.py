# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · A convolutional VAE for clothes
#
# *Difficulty: ●●●●○ · about 120 minutes · {{total}} points*
#
# If a shirt is moved by two pixels, it is still the same shirt. A fully connected network must
# learn a pattern separately for each position in the image. A **convolution** looks for the same
# small patterns at all positions. Here you build a variational autoencoder with two convolutions in
# the encoder and two transposed convolutions in the decoder. You train it on pictures of clothes.
# Then you study its latent space. Which dimensions of the code vary most? Are they distributed like
# the standard normal distribution, as the loss requires? What does each of them change in the
# image?
#
# | what is graded | limit |
# | --- | --- |
# | sizes | any channels `c1`, `c2`, any latent size `lat`; kernels of side `k` = 3 and `k` = 5 |
# | training loss on the small set, in nats per image | below {{below}} within {{epochs}} epochs |
#
# **How to work.** Fill in each `TODO` and run its cell. Then run the `check` below it: it tells you
# what is correct and what is not. Cells without a `TODO` are complete. You can add your own cells
# anywhere.
#
# > **Errata.** The original sheet of this assignment has some errors: it writes `kern3l`, it gives
# > the same number to two items, and some of its formulas are wrong. A box like this one gives the
# > correction where you need it.

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
# ## Before you build: why a "lower bound"? ({{answers}} points, graded by a person)
#
# For an image $x$, a model $p_\theta$ and any approximate posterior $q_\phi(z \mid x)$,
#
# $$\log p_\theta(x) = \mathcal{L}_{\theta,\phi}(x) +
# D_{KL}\big(q_\phi(z \mid x)\,\|\,p_\theta(z \mid x)\big),$$
#
# where $\mathcal{L}$ is the ELBO, the **evidence lower bound** (Kingma & Welling 2014, equation 1).
#
# Rewrite this equation so that it explains the name. Then answer in three to five sentences: what
# is the evidence? Why is $\mathcal{L}$ never greater than the evidence? When are they equal? Why
# does training use $\mathcal{L}$ instead of the evidence?

# %% [markdown] answer="lower_bound" points=10
# **Rubric**
#
# - 3 points: solves for the ELBO, $\mathcal{L} = \log p_\theta(x) - D_{KL}(q \,\|\, p)$, and names
#   $\log p_\theta(x)$, the log-probability of the observed data, as the evidence.
# - 3 points: a KL divergence is never negative, hence $\mathcal{L} \le \log p_\theta(x)$.
# - 2 points: they are equal exactly if the approximate posterior is the true posterior,
#   $q_\phi(z \mid x) = p_\theta(z \mid x)$.
# - 2 points: the evidence needs an integral over all codes, and the KL divergence needs the true
#   posterior. Neither can be computed. But $\mathcal{L}$ can be estimated with samples from $q$. If
#   $\mathcal{L}$ increases, then a guaranteed minimum of the evidence increases, or the gap becomes
#   smaller.
#
# **A model answer.** Solved for the ELBO, the equation is $\mathcal{L}_{\theta,\phi}(x) = \log
# p_\theta(x) - D_{KL}(q_\phi(z \mid x) \,\|\, p_\theta(z \mid x))$. The evidence is
# $\log p_\theta(x)$: the log-probability of the observed image under the model. The ELBO is the
# evidence minus a divergence that is never negative. It is therefore less than or equal to the
# evidence. The two are equal if $q_\phi(z \mid x)$ is exactly the true posterior
# $p_\theta(z \mid x)$, because the divergence is then 0. The evidence itself needs an integral over
# all codes, which cannot be computed. The ELBO is an average over samples from $q_\phi$, and can be
# estimated. If the ELBO increases, then either the evidence has increased or the approximate
# posterior has come closer to the true one. Both improve the model.

# %% [markdown]
# ## The data
#
# Fashion-MNIST has grey 28 × 28 images of ten kinds of clothes. It is already split into a training
# set and a test set. A small part of it is included in the course. To use all 60,000 images, set
# `source = "full"` (they are downloaded once).

# %% run="data"
seed_everything(0)
source = "auto"
train_set = load_dataset("fashion_mnist", source=source)
test_set = load_dataset("fashion_mnist", train=False, source=source)
plot_samples(
    train_set.images,
    train_set.labels,
    n=20,
    title="Fashion-MNIST: training images",
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
# It begins with two convolutions with $k \times k$ kernels and **no padding**. A ReLU follows each
# of them. Then the features of each image are flattened into one row. Two linear layers, side by
# side, compute $\mu$ and $\log\sigma$ from this row. The encoder returns $\mu$ and the exponential
# of $\log\sigma$: **here it returns σ itself**, not its logarithm.
#
# How long is the row? A $k \times k$ kernel fits into $d$ pixels at $d - (k - 1)$ positions, so
# each convolution makes each side shorter by $k - 1$ pixels. After two convolutions there are
#
# $$c_2 \cdot \big(d - 2\,(k - 1)\big)^2$$
#
# features: $c_2$ channels of $24 \times 24$ for $d = 28$ and $k = 3$.
#
# > **Erratum.** The sheet prints $c \cdot (d - (k-1))^2$. That is the size after *one* convolution.
#
# <details><summary>Hints</summary>
#
# - The images are grey, so the first convolution has one input channel.
# - Compute the length of the row from `c2` and `k` in the constructor. A fixed number that is
#   correct for `k = 3` is wrong for `k = 5`.
# - `flatten(1)` flattens each image of the batch separately.
# </details>


# %% solution="my_encoder"
class Encoder(nn.Module):
    """The map from images to the parameters of q(z | x).

    Args:
        c1: Channels after the first convolution.
        c2: Channels after the second convolution.
        lat: Size of the latent code, Z.
        k: Side of the square kernels.
    """

    def __init__(self, c1, c2, lat, k):
        super().__init__()
        # TODO encoder layers: two nn.Conv2d without padding, one nn.Linear each for mu and sigma.
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
# The decoder does the steps of the encoder in reverse order. A **linear layer** maps the code to
# $c_2 \cdot (d - 2(k-1))^2$ features, and a ReLU follows. The row is then reshaped (*unflattened*)
# into $c_2$ channels. Two transposed convolutions come last. A transposed convolution without
# padding makes each side *longer* by $k - 1$ pixels. The image thus grows back to 28 × 28, and its
# channels change as $c_2 \to c_1 \to 1$. A ReLU follows the first transposed convolution and a
# sigmoid the second. The output is the probability of white for each pixel, the parameter of
# $p_\theta(x \mid z)$.
#
# > **Errata.** The sheet applies the ReLU to $z$ itself and unflattens the result. The linear layer
# > must come first: $z$ has far too few numbers to be unflattened, and a ReLU on $z$ would delete
# > its negative values. The sheet also gives the last layer $c_1$ output channels; the image has
# > one.
#
# <details><summary>Hints</summary>
#
# - `nn.ConvTranspose2d(channels in, channels out, kernel)`.
# - `unflatten(1, (channels, height, width))` works for every batch size.
# - `forward` needs the unflattened shape, so store it in the constructor.
# </details>


# %% solution="my_decoder"
class Decoder(nn.Module):
    """The map from codes to images, with the encoder's steps in reverse order.

    Args:
        c1: Channels after the encoder's first convolution.
        c2: Channels after the encoder's second convolution.
        lat: Size of the latent code, Z.
        k: Side of the square kernels.
    """

    def __init__(self, c1, c2, lat, k):
        super().__init__()
        # TODO decoder layers: one nn.Linear and two nn.ConvTranspose2d.
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
# 2014, equation 3). Here it is a **total sum**: over pixels or latents, and also over the images of
# the batch. A batch with twice the images therefore has about twice the loss. In the following
# formula, $y$ is the image and $x$ is the decoder's output. The reconstruction term is the binary
# cross-entropy
#
# $$-\sum_{\text{images}} \sum_{\text{pixels}}
# \big[\,y \odot \log x + (1 - y) \odot \log(1 - x)\,\big].$$
#
# The pixels are grey values. For them, the cross-entropy is the mean of $-\log p$ over
# black-and-white images whose pixels are white with these probabilities. It is not a log-likelihood
# of the grey values themselves: `10_loss_study` says why.
#
# > **Erratum.** The sheet exchanges $x$ and $y$ in this formula. The logarithm must be of the
# > output: the image has pixels that are exactly 0, and log 0 is minus infinity. Here, as in the
# > text of the sheet, `r_loss(x, y)` takes the output first.
#
# The KL divergence from the prior (appendix B of the same paper), with $\sigma$ for the standard
# deviation:
#
# $$D_{KL} = \sum_{\text{images}} \sum_{j=1}^{Z}
# \Big[\tfrac12 \big(\mu_j^2 + \sigma_j^2 - 1\big) - \log\sigma_j\Big].$$
#
# > **Erratum.** The sheet prints $\mu^2 + \sigma^2 - \log\sigma - \tfrac12$. At μ = 0 and σ = 1 the
# > KL is 0, but this formula gives ½. Its minimum is at σ = 1/√2, so training with it would make
# > every posterior too narrow.
#
# **The sample** of $z$ is reparameterized, so that gradients pass through it (section 2.4 of the
# same paper):
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **Forward and backward.** `forward` encodes the images, samples z, decodes it, stores the total
# loss in `self.loss`, and returns the decoder's output alone. `backward` starts backpropagation
# from that loss.
#
# <details><summary>Hints</summary>
#
# - **r_loss**: `F.binary_cross_entropy` computes a mean by default.
# - **kl_loss**: to test your code by hand: for one code with μ = 2 and σ = 1, the KL is 2. With μ =
#   0 and σ = 2 it is 1.5 − log 2 ≈ 0.807.
# - **gaussian**: its argument is σ itself. Do not take an exponential.
# - **forward**: the names are exchanged here. The argument `x` of `forward` is the `y` of `r_loss`.
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
        # TODO encoder and decoder: create self.encoder and self.decoder.
        ### BEGIN SOLUTION
        self.encoder = Encoder(c1, c2, lat, k)
        self.decoder = Decoder(c1, c2, lat, k)
        ### END SOLUTION

    def r_loss(self, x, y):
        """Compute the reconstruction loss, in nats.

        Args:
            x: The decoder's output, (N, 1, 28, 28), in [0, 1].
            y: The original images, (N, 1, 28, 28), in [0, 1].

        Returns:
            A scalar: the binary cross-entropy, summed over pixels and images.
        """
        # TODO r_loss
        ### BEGIN SOLUTION
        return F.binary_cross_entropy(x, y, reduction="sum")
        ### END SOLUTION

    def kl_loss(self, mu, sigma):
        """Compute the KL divergence D_KL(N(mu, sigma²) ‖ N(0, I)), in nats.

        Args:
            mu: Means, (N, Z).
            sigma: Standard deviations, (N, Z), positive.

        Returns:
            A scalar: the divergence, summed over latents and images.
        """
        # TODO kl_loss
        ### BEGIN SOLUTION
        return torch.sum(0.5 * (mu**2 + sigma**2 - 1) - torch.log(sigma))
        ### END SOLUTION

    def gaussian(self, mu, sigma):
        """Sample z from N(mu, sigma²) so that gradients reach mu and sigma.

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
        """Encode, sample, decode, and store the total loss in `self.loss`.

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
        """Backpropagate from the loss that `forward` stored."""
        # TODO backward
        ### BEGIN SOLUTION
        self.loss.backward()
        ### END SOLUTION


# %% [markdown]
# ### Check each part
#
# Each check tests one part and uses known values for the others. An error in one part loses the
# points of that part only. If a check fails, correct the class above, run its cell again, and then
# run the check again.

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
# Channels of 16 and 32, a kernel of 3, 20 latents and batches of 16 or 32 work well. Convolutions
# take time: expect several seconds per epoch.

# %% solution="settings"
seed_everything(0)

# TODO settings: choose the values.
### BEGIN SOLUTION
c1 = 16
c2 = 32
lat = 20
k = 3
batch_size = 16
n_epochs = 5
### END SOLUTION

model = VAE(c1, c2, lat, k)

# TODO optimizer: create an Adam optimizer for the model's parameters; use learning rate 0.001.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
### END SOLUTION

# %% run="summary"
model_summary(VAE(c1, c2, lat, k), (1, 28, 28))  # a new model, without a stored loss
print(f"{count_parameters(model):,} trainable parameters; there is no limit here.")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once, with the loss of one batch.

    Args:
        model: A `VAE`.
        optimizer: An optimizer of the model's parameters.
        x: Images, (N, 1, 28, 28), in [0, 1].

    Returns:
        The tuple (loss, output, mu, sigma): the loss in nats per image, a scalar; the decoder's
        output, (N, 1, 28, 28); mu and sigma, (N, Z) each.
    """
    optimizer.zero_grad()
    output = model(x)
    with torch.no_grad():  # encode again: `forward` stores only the total loss
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
# In a good run with the sizes named above, the loss starts near 310, falls below {{below}} in the
# second or third epoch, and ends near 250. Most of this loss cannot be avoided, because the images
# are grey: a pixel of 0.5 costs 0.69 nats even if it is predicted exactly. Perfect reconstructions
# of these images would still cost 188 nats. If the loss stays at 384, the codes contain no
# information about the images. This is the loss of a model that always outputs the mean of all
# images.

# %% run="loss_curve"
plot_losses(
    {
        "training": train_losses,
        "reconstruction": [loss - kl for loss, kl in zip(train_losses, kl_terms, strict=True)],
        "KL": kl_terms,
    },
    threshold=265,  # {{below}}
    title="Training: the loss and its two terms",
    y_label="nats per image",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own images.

# %% test="training"
check("training")

# %% [markdown]
# ## What has it learned?
#
# These clothes are from the test set; the model has not seen them in training. A good
# reconstruction shows the shape and the brightness, but not the prints and the seams.

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
# Now we sample codes from the prior and decode them to new images. Some are garments and bags. Many
# are mixtures of two garments. The reason: after few epochs on a small set, the decoder knows only
# some regions of the latent space, and a sample from the prior in `lat` dimensions is often outside
# of them.

# %% run="prior_samples"
plot_prior_samples(model.decoder, lat, n=20)

# %% [markdown]
# ## Which latents vary most?
#
# Encode the test images and sample one code for each: N codes of Z numbers. Each of the Z
# dimensions has a variance over the images,
#
# $$s_j^2 = \frac{1}{N} \sum_{n=1}^{N} \big(z_{nj} - \bar z_j\big)^2.$$
#
# Find the two dimensions with the largest variance.
#
# A latent that the decoder ignores is called *collapsed*. It does not have a small variance here.
# The KL makes its posterior equal to the prior, N(0, 1), for every image. So its samples have a
# variance near 1. In general, the variance of the samples is the variance of the means plus the
# mean of $\sigma^2$. For a collapsed latent this is 0 + 1. For a latent in use, the means vary and
# σ is small, and the sum is often near 1 or above. The cell after your function therefore prints
# the variance of the means, too.
#
# <details><summary>Hints</summary>
#
# - The variance of each dimension is computed along the axis of the images. Which axis is that?
# - `torch.as_tensor` accepts tensors and NumPy arrays. `argsort` can sort in descending order.
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
# The KL term pulls the codes of all images together towards $\mathcal{N}(0, I)$. The figure counts
# the codes in the plane of your two dimensions, in 50 × 50 bins. The circles show the prior at 1, 2
# and 3 standard deviations. If the codes follow the prior, the counts are centred on 0 and round,
# and they decrease outwards as the circles show. In a good result, the codes have about the centre
# and the size of the prior, but not exactly its shape. Each kind of clothing has its own region,
# and there may be a gap between two regions. If the codes are centred far from 0, or fill only a
# tenth of the circle, look for an error in the KL.

# %% run="marginal"
plot_marginal(embeddings, dims=(first, second), bins=50)

# %% [markdown]
# ## What does one latent change?
#
# Take a code of zeros, the centre of the prior, and change one of its numbers. Which values should
# you use? If the values have **equal distances**, many of the images show values that are rare
# under the prior. If they have **equal probabilities** between them, most images show values that
# are frequent. Take 7 evenly spaced probabilities from 0.05 to 0.95. For each probability p,
# compute the value v such that a standard normal variable is less than v with probability p. This
# is the inverse of the distribution function, `norm.ppf` in SciPy.
#
# <details><summary>Hints</summary>
#
# - Half of all samples are below 0, so the middle value is 0. The first value is −1.645.
# - Why not from 0 to 1? Compute `norm.ppf(0)`.
# </details>

# %% solution="my_values"
# TODO values: compute the 7 values, an array (7,), in ascending order.
### BEGIN SOLUTION
values = norm.ppf(np.linspace(0.05, 0.95, 7))
### END SOLUTION

# %% test="quantiles"
check("quantiles")

# %% [markdown]
# Now create the codes and decode them. The size of a code is stored in the decoder, in its first
# linear layer.
#
# <details><summary>Hints</summary>
#
# - `decoder.modules()` goes through all layers in order, including nested ones. A linear layer has
#   `in_features`.
# - Start with zeros and fill one column. SciPy's numbers are float64; the decoder's weights are
#   not.
# </details>


# %% solution="my_perturb"
def perturb(decoder, dim, values):
    """Decode codes that are 0 in all dimensions except one.

    Args:
        decoder: A `Decoder`; the input size of its first linear layer is the latent size Z.
        dim: The dimension to change, from 0 to Z - 1.
        values: The values of this dimension, an array (n,); SciPy returns float64.

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
# Along each row, the images should change steadily and in one way: for example longer, brighter, or
# from shirt to shoe. If all seven images look the same, the decoder ignores this latent.

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
# This is the bonus part of the sheet; it is complete. Both dimensions take the same 7 values, which
# makes 49 codes. The middle row and the middle column (from bottom to top) are the two strips from
# above.

# %% run="grid"
plot_manifold(model.decoder, lat, dims=(first, second))

# %% [markdown]
# ## What next
#
# The page *Derivations* of the course's documentation derives the bound and the KL for σ, log σ and
# log σ².
#
# - Lucas et al. 2019, *Don't blame the ELBO! A linear VAE perspective on posterior collapse*,
#   arXiv:1911.02469. For a linear VAE it shows when a latent collapses: if the variance of the
#   likelihood is too large in comparison with what the latent explains.
# - Locatello et al. 2019, *Challenging common assumptions in the unsupervised learning of
#   disentangled representations*, arXiv:1811.12359. It proves that, without assumptions on model
#   and data, no loss can ensure that each latent changes one property only.
# - Vahdat & Kautz 2020, *NVAE: a deep hierarchical variational autoencoder*, arXiv:2007.03898. It
#   is a convolutional VAE with many groups of latents at several image sizes, which makes sharp
#   images.
