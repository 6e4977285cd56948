# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · A VAE with a Gaussian density
#
# *Difficulty: ●●●●○ · about 120 minutes · {{total}} points*
#
# Cross-entropy is a convenient loss, but it is the likelihood of black-and-white pixels, and a grey
# pixel is not a Bernoulli variable. Here each pixel is a number with a **Gaussian density**, and
# the decoder outputs the mean. You will compute the complete density, with all constants. The
# result can then be compared with the result of any other model of the same data. Its unit is
# **bits per dimension**, a common unit for the comparison of image models.
#
# You build a convolutional encoder, a decoder and the ELBO. Then you interpolate between two digits
# along a straight line in the latent space.
#
# | what is graded | limit |
# | --- | --- |
# | training loss in bits per dimension at $\sigma_x=0.1$ | below {{below}} in {{epochs}} epochs |
# | trainable parameters | no limit; the reference has 0.8 million |
#
# **How to work.** Fill in each `TODO` and run its cell. Then run the `check` below it: it tells you
# what is correct and what is not. Cells without a `TODO` are complete. You can add your own cells
# anywhere.

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
# MNIST's pixels are whole numbers from 0 to 255. A small part of the set is included in the course;
# `source = "full"` uses all 60,000 training digits. One tenth of the training digits is kept for
# validation. The test digits are used only at the end.

# %% run="data"
seed_everything(0)
source = "auto"
digits = load_dataset("mnist", source=source)
test_set = load_dataset("mnist", train=False, source=source)
held_out = len(digits) // 10
train_set, val_set = digits[held_out:], digits[:held_out]
plot_samples(train_set.images, train_set.labels, title="MNIST")

# %% [markdown]
# A density cannot be fitted to whole numbers directly. A model could put a narrower and narrower
# peak on each of the 256 values. The density would then grow without limit, although the model has
# learned nothing. We therefore replace each grey level by a uniform distribution over one bin
# (Theis, van den Oord & Bethge 2016, section 3.1), and scale the result to [0, 1):
#
# $$x = \frac{x_{\text{uint8}} + u}{256}, \qquad u \sim \mathcal{U}[0, 1) \ \text{for each pixel}.$$
#
# The model also defines a probability of the original image of whole numbers: the integral of the
# density over the bins of its pixels. The average of the log-density over the noise $u$, on the
# scale of [0, 256), is a lower bound on the logarithm of this probability.
#
# <details><summary>A hint</summary>
#
# How many bins are there, and how wide is each bin after scaling? If you add a float tensor to a
# `uint8` tensor, the result is a float tensor.
# </details>


# %% solution="bins"
def dequantize(x_uint8):
    """Add uniform noise within each grey level's bin, and scale to [0, 1).

    Args:
        x_uint8: Images of whole numbers from 0 to 255, uint8, any shape.

    Returns:
        Float images of the same shape, on the same device. Each call samples new noise.
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
# The **encoder** has a few convolutions, two of them with stride 2 (28 → 14 → 7), and then linear
# layers. It returns the parameters of a Gaussian over codes,
#
# $$q(z \mid x) = \mathcal{N}\big(z;\ \mu,\ \mathrm{diag}(\sigma^2)\big), \qquad
# (\mu, \log\sigma) = \mathrm{Encoder}(x).$$
#
# Two linear layers, side by side, compute $\mu$ and $\log\sigma$. The second output is **the
# logarithm of the standard deviation**, not of the variance.
#
# > **Erratum.** The original sheet of this assignment computes both vectors from "the output of the
# > decoder". It is the output of the *encoder*: the decoder does not compute the posterior.
#
# The **decoder** has the reverse order: linear layers, then transposed convolutions (7 → 14 → 28).
# It returns the mean of each pixel.
#
# <details><summary>Hints</summary>
#
# - A convolution with kernel 3, stride 2 and padding 1 halves 28 to 14 and 14 to 7. The reverse is
#   `nn.ConvTranspose2d` with the same numbers and `output_padding=1`.
# - `nn.Flatten()` and `nn.Unflatten(1, (channels, 7, 7))` connect the two kinds of layers.
# - Why must there be no activation after μ and log σ?
# - The pixels are between 0 and 1. Which last activation keeps their means in this range?
# </details>


# %% solution="encoder_class"
class Encoder(nn.Module):
    """The map from images to the parameters of q(z | x).

    It has at least two convolutions, then linear layers.

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
    """The map from codes to the mean of p(x | z).

    It has linear layers, then at least two (transposed) convolutions.

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
# For one image (Kingma & Welling 2014, equation 3), with one sample $z$ instead of the expectation:
#
# $$-\mathrm{ELBO}(x) = \underbrace{-\log p(x \mid z)}_{\text{recon}} +
# \underbrace{D_{KL}\big(q(z \mid x)\,\|\,p(z)\big)}_{\text{kl}}, \qquad
# z = \mu + \sigma \odot \varepsilon, \quad \varepsilon \sim \mathcal{N}(0, I).$$
#
# **Reconstruction.** Each of the $D = 784$ pixels is Gaussian. Its mean $\hat x_d$ is the decoder's
# output. All pixels have the same standard deviation $\sigma_x$, a number that you choose. The
# log-density with all constants is (appendix C.2 of the same paper, with a fixed variance)
#
# $$\log p(x \mid z) = \sum_{d=1}^{D} \Big[ -\frac{(x_d - \hat x_d)^2}{2 \sigma_x^2}
# - \log \sigma_x - \tfrac12 \log 2\pi \Big].$$
#
# The constants do not change any gradient, so a model can be trained without them. But without them
# the result is not a log-density. It cannot be compared between values of $\sigma_x$, and it cannot
# be converted to bits.
#
# **KL.** The prior is $p(z) = \mathcal{N}(0, I)$. With $\sigma$ for the standard deviation of the
# posterior (appendix B of the same paper)
#
# $$D_{KL} = \sum_{j=1}^{Z} \Big[\tfrac12\big(\mu_j^2 + \sigma_j^2 - 1\big) - \log\sigma_j\Big].$$
#
# **New images.** Sample $z$ from the prior and decode it. Your method `sample` returns the mean of
# each pixel. A true sample of $p(x \mid z)$ would add Gaussian noise with standard deviation
# $\sigma_x$, and the image would look noisy.
#
# <details><summary>Hints</summary>
#
# - Each of the three results has one number for each image. Over which axes do you sum?
# - Sample one ε for *each* number in z, in training and in evaluation.
# - To test your code by hand: one pixel exactly at its mean, with $\sigma_x = 0.1$, has
#   $-\log p = \log 0.1 + 0.919 = -1.384$. The result is negative, because a density can be greater
#   than 1. A probability cannot.
# - `nn.GaussianNLLLoss` takes a variance, and by default it omits a constant.
# </details>


# %% solution="vae"
class VAE(nn.Module):
    """A VAE with a Gaussian likelihood of fixed standard deviation.

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
        """Estimate the negative ELBO with one sample of z for each image, in nats.

        Calls `self.encoder` and `self.decoder`.

        Args:
            x: Dequantized images, (N, 1, 28, 28).

        Returns:
            The tuple (neg_elbo, recon, kl), each with one number for each image, (N,), on x's
            device: the negative ELBO; −log p(x | z), constants included; the KL in closed form.
        """
        # TODO code: encode x, and sample one code z for each image.
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

        # TODO kl: compute the KL divergence of each image, and return the three results.
        ### BEGIN SOLUTION
        kl = torch.sum(0.5 * (mu**2 + sigma**2 - 1) - logsigma, dim=1)
        return recon + kl, recon, kl
        ### END SOLUTION

    def sample(self, n):
        """Create new images: sample codes from the prior and decode them.

        Calls `self.decoder`.

        Args:
            n: The number of images, N.

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
# Each part of `calc_elbo` is tested separately. The check replaces the encoder and the decoder by
# known maps, so an error in one part loses the points of that part only. The checks need a
# `calc_elbo` that runs without an error, so fill in all three parts first.

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
# One nat is $1 / \ln 2$ bits. If you divide the −ELBO in bits by the number of pixels, you get bits
# per dimension for a density on $[0, 1]$. But the original images have 256 grey levels, so the
# scaling must be undone. On the scale of $[0, 256]$, the density is 256 times lower in each
# dimension. This adds $\log_2 256$ bits per dimension:
#
# $$\text{bits per dimension} = \frac{-\mathrm{ELBO}}{D \ln 2} + \log_2 256.$$
#
# (Theis, van den Oord & Bethge 2016, section 3.1, explain why the density of dequantized images
# bounds the probability of the grey levels.) A model without any knowledge is uniform on
# $[0, 1]^D$. Its log-density is 0, so it has 8 bits per dimension: one byte for each pixel. A model
# below 8 has learned something about the images.
#
# **The lowest possible result** depends on $\sigma_x$. A perfect reconstruction has no squared
# error, and the KL is at least 0. What remains for each pixel is $\log\sigma_x + \tfrac12\log 2\pi$
# nats. For $\sigma_x = 0.1$ this is −1.384 nats, or −1.996 bits. With the 8 bits of the scaling, no
# model with $\sigma_x = 0.1$ can be below **6.00 bits per dimension**. So compare your result with
# 6 and 8: the part above 6 is the squared error and the KL. A model without a fixed $\sigma_x$ does
# not have this limit. Normalizing flows reach about 1 bit per dimension on MNIST (Grathwohl et al.
# 2019, arXiv:1810.01367, table 2): their density can be very narrow for the many black pixels.
#
# <details><summary>Hint</summary>
#
# `math.log` takes a plain number and returns a plain number. A tensor times a plain number is a
# tensor of the same shape. Test your function with 0 nats: which result do you expect?
# </details>


# %% solution="bits"
def bits_per_dim(neg_elbo, D):
    """Convert a negative ELBO of images in [0, 1] to bits per dimension of 8-bit images.

    Args:
        neg_elbo: The negative ELBO in nats: a number, or a tensor of any shape.
        D: Number of dimensions of an image.

    Returns:
        Bits per dimension: a number, or a tensor of the same shape as `neg_elbo`.
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
# Choose the sizes and an optimizer. Keep the default $\sigma_x$ of 0.1: the threshold is for this
# value. A squared error then counts $1/\sigma_x^2 = 100$ times as much as with $\sigma_x = 1$. The
# loss therefore starts high and falls fast. Smaller batches or larger learning rates than usual
# help. Five latents or fewer are not enough for the threshold. With very many latents, the bound
# becomes better and the new digits become worse; the end of this notebook shows an example.

# %% solution="settings"
seed_everything(0)

# TODO settings: choose the values.
### BEGIN SOLUTION
latent_dim = 8
batch_size = 32
n_epochs = 10
### END SOLUTION

model = VAE(latent_dim)

# TODO optimizer: create an Adam optimizer for the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
### END SOLUTION

# %% [markdown]
# The model summary needs a `forward` method, but `VAE` has none. The class below adds one: it
# encodes the images and decodes the mean.


# %% run="summary"
class OnePass(nn.Module):
    """A module whose `forward` is one pass through a VAE, for the summary."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, x):
        """Map images (N, 1, 28, 28) to the means of their pixels, (N, 1, 28, 28)."""
        mu, _ = self.vae.encoder(x)
        return self.vae.decoder(mu)


model_summary(OnePass(model), (1, 28, 28))
print(f"{count_parameters(model):,} trainable parameters; there is no limit here.")


# %% setup="train_step"
def train_step(model, optimizer, x):
    """Update the parameters once, with the mean −ELBO of one batch as the loss.

    Args:
        model: A `VAE`.
        optimizer: An optimizer of the model's parameters.
        x: Dequantized images, (N, 1, 28, 28).

    Returns:
        The tuple (loss, x_hat, mu, logsigma, recon, kl): the mean −ELBO in nats, a scalar; the
        results of one more pass, without gradients, which are the means of pixels
        (N, 1, 28, 28), mu and logsigma (N, Z); the two terms of the loss, (N,) each.
    """
    neg_elbo, recon, kl = model.calc_elbo(x)
    loss = neg_elbo.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        mu, logsigma = model.encoder(x)
        # No gradient passes through `torch.normal`; none is needed here.
        x_hat = model.decoder(torch.normal(mu, logsigma.exp()))
    return loss, x_hat, mu, logsigma, recon.detach(), kl.detach()


def mean_terms(model, images):
    """Compute the means of −ELBO, reconstruction term and KL over images, in nats.

    Args:
        model: A `VAE`.
        images: Images, (N, 1, 28, 28), uint8.

    Returns:
        A list of three numbers.
    """
    model.eval()
    with torch.no_grad():
        parts = [torch.stack(model.calc_elbo(dequantize(part))) for part in images.split(500)]
    model.train()
    return torch.cat(parts, dim=1).mean(dim=1).tolist()


# %% [markdown]
# In a good run, the loss starts far above 0, falls below 0 after a few epochs, and ends below
# {{below}} bits per dimension. A run with eight latents, for example, starts near 1,500 nats and
# ends near −340 nats, which is 7.4 bits per dimension. Negative numbers of nats are correct here.
# The KL reaches its size early and stays there, near 30 nats with eight latents: this is the
# information about the image in a code of `latent_dim` numbers. After that, only the reconstruction
# improves. In the figures, compare the validation curves (dashed) with the training curves. If a
# validation curve rises while the training curve falls, the model has started to memorize the
# training digits (overfitting).

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
    threshold=7.6,  # {{below}}
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
    title="KL divergence of the posterior from the prior",
    y_label="nats per image",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own digits.

# %% test="training"
check("training")

# %% [markdown]
# ## The number to report
#
# This cell computes the bound on test digits, which the model has not seen. It prints your result,
# and below it the result of `evaluate_elbo`, which does not use your formulas. The two differ only
# by the noise of the samples, a few nats.

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
# Good reconstructions have the strokes in the same places, with smoother edges. The noise in the
# bytes is gone, because the code does not store it. Bad signs are a grey haze around a digit, or a
# different digit.

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
# Most of the images should look like digits. Some will be between two digits. Bad signs are images
# with blots only, or the same digit in all images.

# %% run="samples"
seed_everything(1)
plot_samples(model.sample(40), title="Pixel means, decoded from samples of the prior")

# %% [markdown]
# ### A map of the means
#
# t-SNE (van der Maaten & Hinton 2008) maps the means of the test digits to a plane. Points that are
# close in the latent space stay close in the plane. The model was trained without labels.

# %% run="map"
with torch.no_grad():
    test_means, _ = model.encoder(dequantize(test_set.images))
plot_embeddings(test_means, test_set.labels, title="Posterior means of test digits")

# %% [markdown]
# ## From one digit to another
#
# Take two images and sample a code for each from its own posterior. Then interpolate from the first
# code to the second along a straight line, with $n$ evenly spaced points:
# $z^{(i)} = z_1 + t_i (z_2 - z_1)$. The first point is $z_1$ and the last point is $z_2$.
#
# <details><summary>Hint</summary>
#
# What are $t_1$ and $t_n$? `torch.linspace` includes both ends. If the values $t_i$ are a column of
# shape (n, 1), broadcasting multiplies each of them with a row of Z numbers.
# </details>


# %% solution="line"
def interpolate(z1, z2, n=10):
    """Return evenly spaced points on the straight line between two codes, ends included.

    Args:
        z1: The first point, (Z,).
        z2: The last point, (Z,).
        n: The number of points, 2 or more.

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
# The figure shows three pairs of different digits, with ten points each. Look at how one digit
# changes into the other: strokes bend, open and close, and a third digit may appear in between. A
# bad result is one image that fades out while the other fades in. That would be an interpolation of
# pixels, not of codes.

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
# ## What next
#
# Does a better bound also mean better images? Train again with twice as many latents. On the small
# set, the reference reaches 7.5 bits per dimension on the test digits with 8 latents, and 7.1 with
# 16. But with 16 most of its new digits are not recognizable. The decoder was trained only on codes
# of images, and in sixteen dimensions a sample from the prior is rarely near such codes. Then try
# `sigma_x=0.3`, which gives the reconstruction error a lower weight: with 8 latents the KL falls to
# 18 nats, and the bits per dimension rise to 7.8, where 7.59 is the lowest possible result.
#
# - Rybkin, Daniilidis & Levine 2021, *Simple and effective VAE training with calibrated decoders*,
#   arXiv:2006.13202. It computes the best σ_x from the reconstruction error, so that nobody has to
#   choose it and the bound is better.
# - Dai & Wipf 2019, *Diagnosing and enhancing VAE models*, arXiv:1903.05789. A second VAE learns
#   the distribution of the codes. Its samples are near the codes of images, which samples from N(0,
#   I) are not.
# - Salimans et al. 2017, *PixelCNN++*, arXiv:1701.05517. Its likelihood is a probability of each
#   grey level, the integral of a density over a bin. So no dequantization is needed.
# - Ho et al. 2019, *Flow++*, arXiv:1902.00275, section 3.1. It learns the distribution of the noise
#   u, instead of uniform noise, and gets a tighter bound.
#
# The page *Derivations* of the course's documentation derives dequantization and bits per
# dimension.
