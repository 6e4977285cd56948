# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · A VAE that puts a density on images
#
# *Difficulty: ●●●●○ · about 120 minutes · 100 points*
#
# Cross-entropy is a convenient loss, but what is it the likelihood *of*? A grey pixel is no coin.
# Here each pixel is a number with a **Gaussian density** around a mean that the decoder paints, and
# you will write that density out in full. The reward: your model's score is a statement about data
# that can be compared with any other model's, in **bits per dimension**, the unit in which image
# models have been compared since long before VAEs.
#
# You build a convolutional encoder and decoder, the ELBO between them, and then walk from one digit
# to another in a straight line through the space of codes.
#
# | what counts | limit |
# | --- | --- |
# | training loss, in bits per dimension at $\sigma_x = 0.1$ | below 7.6 within 10 epochs |
# | trainable parameters | no limit; the reference has 0.8 million |
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it. Cells without a
# `TODO` are complete. You may add cells of your own anywhere.

# %% setup="imports"
import math

import torch
from torch import nn

from autograder import notebook_checks
from vae_utils import (
    VaeView,
    count_parameters,
    evaluate_elbo,
    load_dataset,
    make_loader,
    model_summary,
    plot_embeddings,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("09_gaussian_vae")

# %% [markdown]
# ## Pixels as continuous numbers
#
# MNIST's pixels are whole numbers from 0 to 255. A small part of the set comes with the course;
# `source = "full"` takes all 60,000 training digits. One tenth of them is set aside for validation;
# the test digits wait until the end.

# %% run="data"
seed_everything(0)
source = "auto"
digits = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
held_out = len(digits) // 10
train_set, val_set = digits[held_out:], digits[:held_out]
plot_samples(train_set.images, train_set.labels, title="MNIST")

# %% [markdown]
# A density on whole numbers is a trap: put an ever narrower peak on each of the 256 values, and
# the density grows without limit while nothing has been learned. So each grey level is spread
# evenly over a bin of its own (Theis, van den Oord & Bethge 2016, section 3.1), and the result is
# scaled to lie between 0 and 1:
#
# $$x = \frac{x_{\text{uint8}} + u}{256}, \qquad u \sim \mathcal{U}[0, 1) \ \text{for each pixel}.$$
#
# Averaged over this noise, the log-density is a lower bound on the log-probability that the model
# gives to the whole-numbered image, its density added up over the bins of that image's pixels.
#
# <details><summary>A hint</summary>
#
# How many bins are there, and how wide is each after scaling? Adding a float tensor to a `uint8`
# one gives floats.
# </details>


# %% solution="bins"
def dequantize(x_uint8):
    """Spread each grey level evenly over its bin, and scale to [0, 1).

    Args:
        x_uint8: Images as whole numbers from 0 to 255, uint8, any shape.

    Returns:
        Float images of the same shape, on the same device, with new noise at every call.
    """
    # TODO dequantize
    ### BEGIN SOLUTION
    return (x_uint8 + torch.rand(x_uint8.shape, device=x_uint8.device)) / 256
    ### END SOLUTION


# %% test="dequantize"
check("dequantize")

# %% [markdown]
# ## Encoder and decoder
#
# The **encoder** looks at an image through a few convolutions, two of them with stride 2
# (28 → 14 → 7), then through linear layers, and gives the parameters of a Gaussian over codes,
#
# $$q(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big), \qquad
# (\mu, \log\sigma) = \mathrm{Encoder}(x).$$
#
# Two linear maps side by side make $\mu$ and $\log\sigma$. The second is **the logarithm of the
# standard deviation**, not of the variance.
#
# > **Erratum.** The sheet that this assignment comes from makes both vectors from "the output of
# > the decoder". It is the output of the *encoder*: the decoder knows nothing of the posterior.
#
# The **decoder** goes the other way: linear layers, then transposed convolutions (7 → 14 → 28). It
# gives the mean of each pixel.
#
# <details><summary>Hints</summary>
#
# - A convolution with kernel 3, stride 2 and padding 1 halves 28 to 14 and 14 to 7. Its way back is
#   `nn.ConvTranspose2d` with the same numbers and `output_padding=1`.
# - `nn.Flatten()` and `nn.Unflatten(1, (channels, 7, 7))` join the two kinds of layers.
# - Why does no activation belong on μ and log σ?
# - The pixels lie between 0 and 1. Which last activation keeps their means there?
# </details>


# %% solution="encoder_class"
class Encoder(nn.Module):
    """The parameters of q(z | x): at least two convolutions, then linear layers.

    Args:
        latent_dim: Size of a code, Z.
    """

    def __init__(self, latent_dim):
        super().__init__()
        # TODO encoder layers
        ### BEGIN SOLUTION
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 256),
            nn.ReLU(),
        )
        self.mu = nn.Linear(256, latent_dim)
        self.logsigma = nn.Linear(256, latent_dim)
        ### END SOLUTION

    def forward(self, x):
        """Encode images.

        Args:
            x: Dequantized images, (N, 1, 28, 28).

        Returns:
            The tuple (mu, logsigma): means and log σ, (N, Z) each.
        """
        # TODO encoder
        ### BEGIN SOLUTION
        features = self.features(x)
        return self.mu(features), self.logsigma(features)
        ### END SOLUTION


# %% test="encoder"
check("encoder")


# %% solution="decoder_class"
class Decoder(nn.Module):
    """The mean of p(x | z): linear layers, then at least two (transposed) convolutions.

    Args:
        latent_dim: Size of a code, Z.
    """

    def __init__(self, latent_dim):
        super().__init__()
        # TODO decoder layers
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 256),
            nn.ReLU(),
            nn.Linear(256, 32 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (32, 7, 7)),
            nn.ConvTranspose2d(32, 16, kernel_size=3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, kernel_size=3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        )
        ### END SOLUTION

    def forward(self, z):
        """Decode codes.

        Args:
            z: Codes, (N, Z).

        Returns:
            The mean of each pixel, (N, 1, 28, 28).
        """
        # TODO decoder
        ### BEGIN SOLUTION
        return self.layers(z)
        ### END SOLUTION


# %% test="decoder"
check("decoder")

# %% [markdown]
# ## The ELBO
#
# For one image (Kingma & Welling 2014, equation 3), with one draw $z$ in place of the expectation:
#
# $$-\mathrm{ELBO}(x) = \underbrace{-\log p(x \mid z)}_{\text{recon}} +
# \underbrace{D_{KL}\big(q(z \mid x)\,\|\,p(z)\big)}_{\text{kl}}, \qquad
# z = \mu + \sigma \odot \varepsilon, \quad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **Reconstruction.** Each of the $D = 784$ pixels is Gaussian around the decoder's mean $\hat x_d$,
# with one standard deviation $\sigma_x$ for all, a number that you choose. Its density, constants
# and all (appendix C.2 there, with a fixed variance):
#
# $$\log p(x \mid z) = \sum_{d=1}^{D} \Big[ -\frac{(x_d - \hat x_d)^2}{2 \sigma_x^2}
# - \log \sigma_x - \tfrac12 \log 2\pi \Big].$$
#
# The constants change no gradient. Without them the number would still train a model, but it would
# be no density: it could not be compared across values of $\sigma_x$, nor turned into bits.
#
# **KL.** The prior is $p(z) = \mathcal{N}(0, I)$, and with $\sigma$ the posterior's standard
# deviation (appendix B there)
#
# $$D_{KL} = \sum_{j=1}^{Z} \Big[\tfrac12\big(\mu_j^2 + \sigma_j^2 - 1\big) - \log\sigma_j\Big].$$
#
# **New images** need no image: draw $z$ from the prior and decode it. `sample` shows the mean of
# each pixel; a true sample would add $\sigma_x$ times noise, and look like bad television.
#
# <details><summary>Hints</summary>
#
# - Each of the three values has one number for each image. Over which axes do you sum?
# - One draw of ε for *each* number in z, in training and after it.
# - By hand: one pixel exactly at its mean, $\sigma_x = 0.1$: $-\log p = \log 0.1 + 0.919 = -1.384$.
#   Negative! A density, unlike a probability, can exceed 1.
# - `nn.GaussianNLLLoss` takes a variance, and leaves a constant out unless told otherwise.
# </details>


# %% solution="vae"
class VAE(nn.Module):
    """A VAE with a Gaussian likelihood of fixed spread.

    Args:
        latent_dim: Size of a code, Z.
        sigma_x: Standard deviation σ_x of every pixel.
    """

    def __init__(self, latent_dim, sigma_x=0.1):
        super().__init__()
        self.latent_dim = latent_dim
        self.sigma_x = sigma_x
        self.encoder = Encoder(latent_dim)
        self.decoder = Decoder(latent_dim)

    def calc_elbo(self, x):
        """Estimate the negative ELBO with one draw of z for each image, in nats.

        Calls `self.encoder` and `self.decoder`.

        Args:
            x: Dequantized images, (N, 1, 28, 28).

        Returns:
            The tuple (neg_elbo, recon, kl), one number for each image in each, (N,), on x's device:
            the negative ELBO; −log p(x | z), constants included; the KL in closed form.
        """
        # TODO draw: encode x, and draw one code z for each image.
        ### BEGIN SOLUTION
        mu, logsigma = self.encoder(x)
        sigma = torch.exp(logsigma)
        z = mu + sigma * torch.randn_like(sigma)
        ### END SOLUTION

        # TODO recon: decode z, and compute −log p(x | z) of each image.
        ### BEGIN SOLUTION
        residual = (x - self.decoder(z)) / self.sigma_x
        log_density = -0.5 * residual**2 - math.log(self.sigma_x) - 0.5 * math.log(2 * math.pi)
        recon = -log_density.flatten(1).sum(dim=1)
        ### END SOLUTION

        # TODO kl: the KL divergence of each image, and what to return.
        ### BEGIN SOLUTION
        kl = torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)
        return recon + kl, recon, kl
        ### END SOLUTION

    def sample(self, n):
        """Make new images: codes from the prior, decoded.

        Calls `self.decoder`.

        Args:
            n: How many, N.

        Returns:
            The mean of each pixel, (N, 1, 28, 28), on the model's device, without gradient.
        """
        # TODO sample
        ### BEGIN SOLUTION
        with torch.no_grad():  # new images train nothing
            device = next(self.parameters()).device
            return self.decoder(torch.randn(n, self.latent_dim, device=device))
        ### END SOLUTION


# %% [markdown]
# The parts of `calc_elbo` are judged one by one, with known maps in the encoder's and the decoder's
# place, so that a slip in one costs nothing in the others. They need a `calc_elbo` that runs from
# top to bottom, so fill in all three first.

# %% test="reconstruction"
check("reconstruction")

# %% test="kl_divergence"
check("kl_divergence")

# %% test="elbo"
check("elbo")

# %% test="sample"
check("sample")

# %% [markdown]
# ## Bits per dimension
#
# A nat is $1 / \ln 2$ bits. Divide by the number of pixels and you have bits per dimension, of a
# density on $[0, 1]$. To say what that means for the 256 grey levels, take the scaling back: an
# image on the scale of $[0, 256]$ has a density that is 256 times lower in each dimension, which
# costs $\log_2 256$ bits more for each.
#
# $$\text{bits per dimension} = \frac{-\mathrm{ELBO}}{D \ln 2} + \log_2 256.$$
#
# (Theis, van den Oord & Bethge 2016, section 3.1, on why the density of dequantized images bounds
# that of the grey levels.) A model that knows nothing, uniform on $[0, 1]^D$, has a log-density of
# 0 and so 8 bits per dimension: one plain byte for each pixel. What is below 8 has been learned.
#
# <details><summary>Hint</summary>
#
# `math.log` takes plain numbers and gives one; a tensor times a plain number is a tensor of the
# same shape. Try 0 nats: what should come out?
# </details>


# %% solution="bits"
def bits_per_dim(neg_elbo, D):
    """Turn a negative ELBO on [0, 1]-scaled images into bits per dimension of 8-bit images.

    Args:
        neg_elbo: In nats: a number, or a tensor of any shape.
        D: Number of dimensions of an image.

    Returns:
        As many numbers as came in.
    """
    # TODO bits_per_dim
    ### BEGIN SOLUTION
    return neg_elbo / (D * math.log(2)) + math.log2(256)
    ### END SOLUTION


# %% test="bits_per_dim"
check("bits_per_dim")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer; $\sigma_x$ stays at its default of 0.1, or numbers could not
# be compared. With so small a $\sigma_x$ every error counts a hundredfold, so the bound starts high
# and falls fast. Smaller batches or larger steps than usual help. Five latents or fewer are too few
# for the threshold; very many make a better bound and worse new digits, as you will see.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
latent_dim = 8
batch_size = 32
n_epochs = 10
### END SOLUTION

model = VAE(latent_dim)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
### END SOLUTION

# %% [markdown]
# `VAE` has no `forward`, which the summary needs; so one is put around it: encode, then decode the
# mean.


# %% run="summary"
class OnePass(nn.Module):
    """One way through a VAE, for the summary."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, x):
        """Images (N, 1, 28, 28) to the means of their pixels."""
        mu, _ = self.vae.encoder(x)
        return self.vae.decoder(mu)


model_summary(OnePass(model), (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters; there is no limit here.")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """One update of the parameters.

    Returns:
        The mean −ELBO in nats, and what it can be checked by: from one pass more without gradient
        the means of pixels (N, 1, 28, 28), mu and logsigma (N, Z); and the two terms (N,).
    """
    neg_elbo, recon, kl = model.calc_elbo(x)
    loss = neg_elbo.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        mu, logsigma = model.encoder(x)
        # No gradient ever passes through a draw of `torch.normal`. None has to, here.
        x_hat = model.decoder(torch.normal(mu, logsigma.exp()))
    return loss, x_hat, mu, logsigma, recon.detach(), kl.detach()


def mean_terms(model, images):
    """The means of −ELBO, reconstruction and KL over uint8 images, in nats."""
    model.eval()
    with torch.no_grad():
        parts = [torch.stack(model.calc_elbo(dequantize(part))) for part in images.split(500)]
    model.train()
    return torch.cat(parts, dim=1).mean(dim=1).tolist()


# %% [markdown]
# A good run starts near 1,500 nats, falls below 0 in the third or fourth epoch and ends near −340,
# which is 7.4 bits per dimension. Negative numbers are as they should be. The KL settles at about
# 30 nats early on: that is what a code of eight numbers says about its image. All further gain is
# better painting. Watch the dashed curves: where they turn upwards while the others fall, the model
# has begun to learn the training digits by heart.

# %% run="train"
curves = {"−ELBO": [], "reconstruction": [], "KL": []}
val_curves = {f"val {name}": [] for name in curves}
train_losses = curves["−ELBO"]
loader = make_loader(train_set, batch_size, raw=True)
for epoch in range(n_epochs):
    total = torch.zeros(3)
    for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
        loss, *_, recon, kl = train_step(model, optimizer, dequantize(x))
        total += torch.stack([loss.detach() * len(x), recon.sum(), kl.sum()])
    for curve, value in zip(curves.values(), (total / len(train_set)).tolist(), strict=True):
        curve.append(value)
    for curve, value in zip(val_curves.values(), mean_terms(model, val_set.images), strict=True):
        curve.append(value)
    print(
        f"epoch {epoch + 1:2}: {train_losses[-1]:7.1f} nats, "
        f"{bits_per_dim(train_losses[-1], 784):.2f} bits per dimension; "
        f"validation {bits_per_dim(val_curves['val −ELBO'][-1], 784):.2f}"
    )

# %% run="elbo_curve"
plot_losses(
    {
        "training": [bits_per_dim(loss, 784) for loss in train_losses],
        "validation": [bits_per_dim(loss, 784) for loss in val_curves["val −ELBO"]],
    },
    threshold=7.6,
    title="−ELBO",
    y_label="bits per dimension",
)

# %% run="recon_curve"
plot_losses(
    {name: losses for name, losses in (curves | val_curves).items() if "recon" in name},
    title="Reconstruction: −log p(x | z)",
    y_label="nats per image",
)

# %% run="kl_curve"
plot_losses(
    {name: losses for name, losses in (curves | val_curves).items() if "KL" in name},
    title="KL from the posterior to the prior",
    y_label="nats per image",
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## The number to report
#
# The bound on digits that the model has never seen. Below your own number stands the same one from
# `evaluate_elbo`, which knows nothing of your formulas; the two differ by the noise in the draws
# alone, a few nats.

# %% run="test_elbo"
seed_everything(0)
neg_elbo, recon, kl = mean_terms(model, test_set.images)
print(f"Test ELBO: {-neg_elbo:.1f} nats, {bits_per_dim(neg_elbo, 784):.3f} bits per dimension")
print(f"           (reconstruction {recon:.1f}, KL {kl:.1f})")
view = VaeView(
    model.encoder, model.decoder, scale="logsigma", likelihood="gaussian", sigma_x=model.sigma_x
)
print(evaluate_elbo(view, make_loader(test_set, 500, shuffle=False, dequantize=True)))

# %% [markdown]
# Strokes should lie where they lay, with smoother edges; the noise in the bytes is not worth
# a code and is gone. Grey haze around a digit, or another digit, would be bad signs.

# %% run="reconstructions"
model.eval()
with torch.no_grad():
    originals = dequantize(test_set.images[:10])
    means, _ = model.encoder(originals)
    restored = model.decoder(means)
plot_reconstructions({"original": originals, "reconstruction": restored})

# %% [markdown]
# ### New digits
#
# Most should look like digits; some will be something in between. Only blots, or the same digit
# again and again, would be bad signs.

# %% run="samples"
seed_everything(1)
plot_samples(model.sample(40), title="Means of decoded draws from the prior")

# %% [markdown]
# ### A map of the means
#
# t-SNE (van der Maaten & Hinton 2008) lays the means of the test digits out on a plane so that
# neighbours stay neighbours. The model never saw a label.

# %% run="map"
with torch.no_grad():
    test_means, _ = model.encoder(dequantize(test_set.images))
plot_embeddings(test_means, test_set.labels, title="Posterior means of test digits")

# %% [markdown]
# ## From one digit to another
#
# Take two images, draw a code for each from its own posterior, and walk from one to the other
# along a straight line, over $n$ evenly spaced points: $z^{(i)} = z_1 + t_i (z_2 - z_1)$. The first
# is $z_1$ and the last is $z_2$.
#
# <details><summary>Hint</summary>
#
# What are $t_1$ and $t_n$? `torch.linspace` counts both ends. As a column, (n, 1), the shares meet
# a row of Z numbers n times.
# </details>


# %% solution="line"
def interpolate(z1, z2, n=10):
    """Give evenly spaced points on the straight line from one code to another, ends included.

    Args:
        z1: The first point, (Z,).
        z2: The last point, (Z,).
        n: How many points, 2 or more.

    Returns:
        The points in order, (n, Z), on z1's device.
    """
    # TODO interpolate
    ### BEGIN SOLUTION
    share = torch.linspace(0, 1, n, dtype=z1.dtype, device=z1.device)
    return z1 + share[:, None] * (z2 - z1)
    ### END SOLUTION


# %% test="interpolate"
check("interpolate")

# %% [markdown]
# Three pairs of different digits, ten points each. Look for how one becomes the other: strokes
# bend, open and close, and in between there may be a third digit. What you should *not* see is one
# image fading out while the other fades in; that would be a walk through pixels, not through codes.

# %% run="traversals"
seed_everything(2)
pairs = [(1, 8), (3, 5), (4, 0)]
rows = []
with torch.no_grad():
    for pair in pairs:
        images = torch.stack([test_set.images[test_set.labels == label][0] for label in pair])
        mu, logsigma = model.encoder(dequantize(images))
        z1, z2 = torch.normal(mu, logsigma.exp())
        rows.append(model.decoder(interpolate(z1, z2, 10)))
plot_reconstructions(
    {f"{a} to {b}": row for (a, b), row in zip(pairs, rows, strict=True)},
    title="From one digit to another in ten steps",
)

# %% [markdown]
# ### Where to go from here
#
# Is the better number also the nicer picture? Train once more with `latent_dim = 16`. On the small
# set the reference then reaches 7.1 bits per dimension on the test digits instead of 7.5, and yet
# most of its new digits are none: the decoder has seen codes only where images were encoded, and in
# sixteen dimensions a draw from the prior rarely falls there. Then try `sigma_x=0.3`, which makes
# pixels cheaper: the KL falls to 18 nats, and the bits rise to 7.8.
