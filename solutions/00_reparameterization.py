# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Reparameterization and KL divergence
#
# *Difficulty: ●○○○○ · about 45 minutes · {{total}} points*
#
# A variational autoencoder (VAE) samples random numbers in the middle of a network. Training needs
# gradients on both sides of this sampling step. Two short formulas make that possible:
#
# - The **reparameterization trick** lets gradients pass through a random sample.
# - The **KL divergence** measures how far a Gaussian is from the standard normal. In a VAE it is
#   the cost of information.
#
# You will write both formulas and work out two gradients by hand. Then you will see their effects:
# first each formula alone, then both together. There is no data, no network and no waiting.
# Everything here has one or two numbers, so you can check every result on paper.
#
# | what is checked | tolerance |
# | --- | --- |
# | `reparameterize`, `toy_gradients` | 1e-4 of the largest value |
# | `kl_divergence`, compared with its closed form | 1e-5 of the largest value |
# | `kl_divergence`, compared with an estimate from 200,000 samples | six standard errors |
#
# (The estimate is random. A correct solution differs from it by more than six standard errors less
# than once in a million runs.)
#
# **How to work.** Fill in each `TODO` and run the cell. Then run the `check` below it. The check
# tells you what is correct and what is not. Cells without a `TODO` are complete. You may add your
# own cells anywhere.

# %% setup="imports"
import matplotlib.pyplot as plt
import torch

from autograder import notebook_checks
from vae_utils import plot_kl_per_dimension, plot_posterior_vs_prior, seed_everything

check = notebook_checks("00_reparameterization")

# These colours are easy to distinguish with any kind of colour vision (Okabe & Ito 2008).
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## Why sampling stops the gradient
#
# An encoder outputs a mean $\mu$ and a standard deviation $\sigma$. A latent $z$ is sampled from
# $\mathcal{N}(\mu, \sigma^2)$, and the loss is computed from $z$. To train the encoder we need
# $\partial L / \partial \mu$ and $\partial L / \partial \sigma$. The next cell samples $z$ with
# PyTorch and asks whether $z$ has a gradient:

# %% run="no_way_back"
seed_everything(0)
mu = torch.tensor(2.0, requires_grad=True)
sigma = torch.tensor(1.0, requires_grad=True)
z = torch.distributions.Normal(mu, sigma).sample()
print(f"z = {z:.3f}, z.requires_grad = {z.requires_grad}")

# %% [markdown]
# The answer is `False`: for autograd, this $z$ is a constant. A random number generator has no
# derivative.
#
# **The trick** (Kingma & Welling 2014, section 2.4) has two steps. First, sample $\varepsilon$ from
# a distribution that has no parameters. Second, apply the parameters by arithmetic:
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# The sample $z$ has the same distribution as before: $\sigma$ scales the noise and $\mu$ shifts it.
# But now $\varepsilon$ is an ordinary input, and $z$ is a smooth function of $\mu$ and $\sigma$.
#
# ## Task 1: reparameterize ({{points.reparameterize}} points)
#
# In later notebooks this function samples $\varepsilon$ itself. Here $\varepsilon$ is an argument.
# You can see where the randomness is, and every value can be checked.
#
# <details><summary>A hint</summary>
#
# Use each of the three arguments exactly once. The second argument is σ itself, not log σ and
# not σ². You do not need to convert anything.
# </details>


# %% solution="my_draw"
def reparameterize(mu, sigma, eps):
    """Transform standard normal noise into a sample from N(mu, sigma²).

    Args:
        mu: Means, a tensor of any shape, such as (N, Z).
        sigma: Standard deviations, the same shape, positive.
        eps: Samples from N(0, 1), the same shape.

    Returns:
        The samples z, the same shape, as a new tensor. The inputs do not change, and gradients
        reach mu and sigma.
    """
    # TODO reparameterize
    ### BEGIN SOLUTION
    return mu + sigma * eps
    ### END SOLUTION


# %% test="reparameterize"
check("reparameterize")

# %% [markdown]
# **What it should look like.** The next cell passes the same 20,000 numbers $\varepsilon$ through
# your function three times. Each histogram should match its curve, which is the exact density. If
# a histogram is shifted to one side of its curve, something is wrong with $\mu$. If it is wider or
# narrower than its curve, something is wrong with $\sigma$.

# %% run="draws"
seed_everything(0)
eps = torch.randn(20_000)
grid = torch.linspace(-7, 5, 400)
figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
for m, s, colour, line in [(0, 1, BLUE, "-"), (2, 0.5, ORANGE, "--"), (-2, 1.5, GREEN, ":")]:
    z = reparameterize(torch.full_like(eps, m), torch.full_like(eps, s), eps)
    ax.hist(z, bins=80, density=True, color=colour, alpha=0.3)
    density = torch.distributions.Normal(m, s).log_prob(grid).exp()
    ax.plot(grid, density, color=colour, linestyle=line, label=f"density for μ = {m}, σ = {s}")
ax.set(xlabel="z", ylabel="density", title="The same noise, scaled by σ and shifted by μ")
ax.legend()
plt.show()

# %% [markdown]
# ## Task 2: two gradients by hand ({{points.toy_gradients}} points)
#
# Let the loss be $L(z) = (z - y)^2$. After sampling, the noise $\varepsilon$ is a constant. So we
# can apply the chain rule:
#
# $$\frac{\partial L}{\partial \mu} = \frac{\partial L}{\partial z} \cdot
# \frac{\partial z}{\partial \mu}, \qquad
# \frac{\partial L}{\partial \sigma} = \frac{\partial L}{\partial z} \cdot
# \frac{\partial z}{\partial \sigma}.$$
#
# Start on paper, with $\mu = 2$, $\sigma = 1$, $\varepsilon = 0.5$ and $y = 3$. Then $z$ is 2.5,
# the loss is 0.25, and the two gradients are −1 and −0.5. After that, write the function for any
# numbers.
#
# <details><summary>A hint for each factor</summary>
#
# - $\partial L / \partial z$: this is the derivative of a square. Both gradients use it.
# - $\partial z / \partial \mu$ and $\partial z / \partial \sigma$: change one of the two a little
#   and keep everything else fixed. How much does $z$ change?
# - Plain arithmetic works for floats and for tensors. If you use autograd instead, first convert
#   floats to tensors: a float has no gradient.
# </details>


# %% solution="my_gradients"
def toy_gradients(mu, sigma, eps, y):
    """Differentiate L = (z − y)² by mu and by sigma, where z is the reparameterized sample.

    This function is independent of task 1: it does not call `reparameterize`.

    Args:
        mu: The mean, a float or a tensor of shape ().
        sigma: The standard deviation, of the same type.
        eps: The sampled noise, of the same type.
        y: The target, of the same type.

    Returns:
        The pair (dL/dmu, dL/dsigma). Each is a float or a tensor of shape ().
    """
    # TODO toy_gradients
    ### BEGIN SOLUTION
    by_z = 2 * (mu + sigma * eps - y)
    return by_z, by_z * eps
    ### END SOLUTION


# %% test="toy_gradients"
check("toy_gradients")

# %% [markdown]
# The next cell computes the gradients in two ways: with your formulas, and with autograd through
# your `reparameterize`. Both results must be equal.

# %% run="by_autograd"
mu = torch.tensor(2.0, requires_grad=True)
sigma = torch.tensor(1.0, requires_grad=True)
loss = (reparameterize(mu, sigma, torch.tensor(0.5)) - 3.0) ** 2
loss.backward()
by_mu, by_sigma = toy_gradients(2.0, 1.0, 0.5, 3.0)
print(f"by hand:     dL/dmu = {by_mu:.2f}, dL/dsigma = {by_sigma:.2f}")
print(f"by autograd: dL/dmu = {mu.grad:.2f}, dL/dsigma = {sigma.grad:.2f}")

# %% [markdown]
# ### Gradient descent with your gradients
#
# The next cell runs gradient descent twice. Both runs start at $(\mu, \sigma) = (2, 1)$.
#
# - **Left**: the noise is always $\varepsilon = 0.5$. The loss is then zero along a whole line.
#   Gradient descent stops where it reaches this line. The resulting $\mu$ and $\sigma$ fit only
#   this one value of $\varepsilon$.
# - **Right**: every step samples new noise, as in training. Gradient descent then reduces the
#   *mean* loss:
#
# $$\mathbb{E}_\varepsilon\big[(\mu + \sigma\varepsilon - y)^2\big] = (\mu - y)^2 + \sigma^2.$$
#
# **What it should look like.** The left path is short and straight, and ends in the pale area. The
# right path is irregular and ends near (3, 0). If a path moves to darker areas, a sign is wrong. If
# $\sigma$ does not change, the second gradient is wrong.

# %% run="descent"
seed_everything(0)


def descend(draw_noise, steps=500, rate=0.02):
    """Run gradient descent with `toy_gradients` from (2, 1), for the target y = 3.

    Args:
        draw_noise: Returns the noise ε of one step, a float.
        steps: Number of updates.
        rate: Learning rate.

    Returns:
        (mu, sigma) before the first update and after each one, (steps + 1, 2).
    """
    path = [(2.0, 1.0)]
    for _ in range(steps):
        mu, sigma = path[-1]
        by_mu, by_sigma = toy_gradients(mu, sigma, draw_noise(), 3.0)
        path.append((mu - rate * float(by_mu), sigma - rate * float(by_sigma)))
    return torch.tensor(path)


def draw_path(ax, path, colour, label):
    """Plot a path, (steps, 2), with a circle at its start and a star at its end."""
    ax.plot(path[:, 0], path[:, 1], color=colour, linewidth=1.8, label=label)
    ax.plot(*path[0], "o", *path[-1], "*", color=colour, markersize=11, markeredgecolor="white")


m, s = torch.meshgrid(torch.linspace(1, 4.5, 120), torch.linspace(-0.3, 2, 120), indexing="xy")
panels = {
    "fixed noise, ε = 0.5": ((m + 0.5 * s - 3) ** 2, descend(lambda: 0.5)),
    "new noise in every step": ((m - 3) ** 2 + s**2, descend(lambda: torch.randn(()).item())),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, (title, (surface, path)) in zip(axes, panels.items(), strict=True):
    shades = ax.contourf(m, s, surface, levels=[0, 0.05, 0.2, 0.5, 1, 2, 3, 5, 9], cmap="Blues")
    draw_path(ax, path, ORANGE, "descent from ○ to ★")
    ax.set(xlabel="μ", title=title)
    ax.legend(loc="upper right", framealpha=0.9)
axes[0].set_ylabel("σ")
figure.colorbar(shades, ax=axes, label="loss (right: mean loss)")
plt.show()

# %% [markdown]
# Look at the end of the right path: $\sigma$ goes to **zero**. Noise only increases this loss, and
# the gradients through the sample let the model remove the noise. An autoencoder trained with this
# loss alone becomes deterministic. A second term must prevent that.
#
# ## Task 3: the KL divergence ({{points.kl_divergence}} points)
#
# The second term of the VAE's loss is the KL divergence. It measures how far the encoder's Gaussian
# $q = \mathcal{N}(\mu, \mathrm{diag}(\sigma^2))$ is from the prior $p = \mathcal{N}(0, I)$:
#
# $$D_{KL}(q \,\|\, p) = \mathbb{E}_{z \sim q}\big[\log q(z) - \log p(z)\big].$$
#
# For these two Gaussians the expectation has a closed form (Kingma & Welling 2014, appendix B):
#
# $$D_{KL} = \frac12 \sum_{j=1}^{Z} \big(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\big).$$
#
# Your function takes $\mathtt{logvar} = \log\sigma^2$ instead of $\sigma$, because most networks in
# this course output `logvar`. The output of a network can have any sign, but a standard deviation
# cannot be negative.
#
# > **A note on the sources.** This course grew from university notebooks. In one of them, the
# > formula has ½‖x − x̂‖² before this term, and the code a binary cross-entropy. Both are right:
# > the first for a Gaussian decoder, the second for a Bernoulli decoder. `10_loss_study` compares
# > them. The KL is the same in both. The same notebook counts 786 output values for a digit. The
# > right number is 784, which is 28 × 28.
#
# <details><summary>Three hints</summary>
#
# - How do you compute σ² from log σ²? Only one of the four terms needs it.
# - Test your function with three known values, with Z = 1. At μ = 0, σ = 1 the KL is 0. At μ = 2,
#   σ = 1 it is 2. At μ = 0, σ = 2 it is 1.5 − log 2 ≈ 0.807.
# - The inputs have shape `(N, Z)` and the output has shape `(N,)`. Over which axis do you sum?
# </details>


# %% solution="my_kl"
def kl_divergence(mu, logvar):
    """Compute the KL divergence of N(mu, exp(logvar)) from N(0, I) for each row, in nats.

    Args:
        mu: Means, (N, Z).
        logvar: Log-variances log σ², (N, Z), of any sign.

    Returns:
        The divergences, (N,): summed over latents, not over rows. The inputs do not change, and
        gradients reach both of them.
    """
    # TODO kl_divergence
    ### BEGIN SOLUTION
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
    ### END SOLUTION


# %% test="kl_divergence"
check("kl_divergence")

# %% [markdown]
# ### The closed form and a Monte Carlo estimate
#
# The KL is defined as a mean over samples. So you can also estimate it without the closed form:
# sample $z$ from $q$ and average $\log q(z) - \log p(z)$. In the figure, the lines are your closed
# form. Each dot is the average over 2,000 samples from your `reparameterize`. Its error bar is two
# standard errors long in each direction.
#
# **What it should look like.** The lines go through the dots, inside nearly every error bar. The KL
# is never negative. It is zero at $\mu = 0$ on the left and at $\sigma = 1$ on the right. As a
# function of $\mu$ it is a parabola. As a function of $\sigma$ it is not symmetric: it grows
# without limit as $\sigma$ goes to zero. This keeps $\sigma$ away from zero. If a line is steeper
# than the dots, check the ½. If a line is zero at another place, check whether you mixed up σ, σ²
# and log σ².

# %% run="kl_curves"
seed_everything(0)


def kl_by_counting(mu, sigma, draws=2000):
    """Estimate the KL from samples, for each entry of mu and sigma.

    Args:
        mu: Means, (K,).
        sigma: Standard deviations, (K,).
        draws: Number of samples for each entry.

    Returns:
        The tuple (means, standard errors), each (K,), in nats.
    """
    z = reparameterize(mu.expand(draws, -1), sigma.expand(draws, -1), torch.randn(draws, len(mu)))
    q, p = torch.distributions.Normal(mu, sigma), torch.distributions.Normal(0.0, 1.0)
    gaps = q.log_prob(z) - p.log_prob(z)
    return gaps.mean(0), gaps.std(0) / draws**0.5


figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
curves = {
    "μ, with σ = 1": (torch.linspace(-3, 3, 13), lambda t: (t, torch.ones_like(t))),
    "σ, with μ = 0": (torch.linspace(0.1, 3, 13), lambda t: (torch.zeros_like(t), t)),
}
for ax, (name, (places, place)) in zip(axes, curves.items(), strict=True):
    fine = torch.linspace(places.min(), places.max(), 200)
    mu, sigma = place(fine)
    closed = kl_divergence(mu[:, None], 2 * sigma.log()[:, None])
    means, errors = kl_by_counting(*place(places))
    ax.plot(fine, closed, color=BLUE, label="closed form")
    ax.errorbar(places, means, 2 * errors, fmt="o", color=ORANGE, capsize=3, label="2,000 samples")
    ax.set(xlabel=name, ylabel="KL in nats", title=f"KL as a function of {name[0]}")
    ax.legend(loc="upper center")
plt.show()

# %% [markdown]
# ### What four latents cost
#
# Suppose that an encoder has four latents:
#
# - **Latent 0** tells images apart: the means are far from each other, and the standard deviations
#   are small.
# - **Latent 1** carries no information: it equals the prior for every image.
# - **Latent 2** is the prior, shifted by the same amount for every image.
# - **Latent 3** has mean 0, but its standard deviation is too small.
#
# The first figure shows the aggregate posterior of each latent: the mean of the posteriors of all
# images. The second figure shows the KL of each latent. The KL adds over dimensions, so the bars
# sum to the mean of your `kl_divergence`. Only latent 0 carries information about the image.
# Latents 2 and 3 cost KL and carry none.

# %% run="clouds"
seed_everything(0)
n_images = 500
mu = torch.stack(
    [torch.randn(n_images), torch.zeros(n_images), torch.ones(n_images), torch.zeros(n_images)], 1
)
sigma = torch.tensor([0.2, 1.0, 1.0, 0.4]).expand(n_images, 4)
plot_posterior_vs_prior(mu, 2 * sigma.log(), title="Four latents and the prior")

# %% run="cost"
print(f"your kl_divergence, mean over images: {kl_divergence(mu, 2 * sigma.log()).mean():.2f} nats")
plot_kl_per_dimension(mu, 2 * sigma.log())

# %% [markdown]
# ## Both terms together: the smallest possible VAE
#
# This VAE has one mean, one log-variance and one target $y = 3$. The loss is a reconstruction term
# plus your KL. Autograd differentiates both of your functions:
#
# $$\mathbb{E}_\varepsilon\big[(z - y)^2\big] + D_{KL} = (\mu - y)^2 + \sigma^2 + \tfrac12\big(\mu^2
# + \sigma^2 - 1 - \log\sigma^2\big).$$
#
# Set the derivatives to zero: the minimum is at $\mu = 2$ and $\sigma^2 = \tfrac13$. The prior
# moves the mean from 3 to 2, and $\sigma$ stays away from 0.
#
# **What it should look like.** With the KL, the path ends at the cross. Without the KL, $\mu$ goes
# to 3 and $\sigma$ slowly goes towards 0. If both paths end at the same place, your KL has no
# gradient.

# %% run="tug_of_war"
seed_everything(0)


def train(kl_weight, steps=1500):
    """Minimise the loss over mu and logvar.

    Args:
        kl_weight: Factor of the KL; 0 for reconstruction alone.
        steps: Number of updates.

    Returns:
        (mu, sigma) before each update, (steps, 2).
    """
    mu = torch.full((1, 1), 0.5, requires_grad=True)
    logvar = torch.full((1, 1), 0.8, requires_grad=True)
    optimizer = torch.optim.SGD([mu, logvar], lr=0.02)
    path = []
    for _ in range(steps):
        sigma = torch.exp(0.5 * logvar)
        path.append((mu.item(), sigma.item()))
        z = reparameterize(mu.expand(32, 1), sigma.expand(32, 1), torch.randn(32, 1))
        loss = ((z - 3.0) ** 2).mean() + kl_weight * kl_divergence(mu, logvar).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.tensor(path)


m, s = torch.meshgrid(torch.linspace(0, 4, 120), torch.linspace(0.03, 2, 120), indexing="xy")
surface = (m - 3) ** 2 + s**2 + 0.5 * (m**2 + s**2 - 1 - 2 * s.log())
figure, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
shades = ax.contourf(m, s, surface, levels=[3, 3.2, 3.6, 4, 5, 6, 8, 11, 15], cmap="Blues")
draw_path(ax, train(kl_weight=0.0), GREEN, "reconstruction alone")
draw_path(ax, train(kl_weight=1.0), ORANGE, "reconstruction and KL")
ax.plot(2, 3**-0.5, "x", color="black", markersize=10, label="minimum on paper: (2, 0.577)")
ax.set(xlabel="μ", ylabel="σ", title="Without KL, σ goes to 0; with KL, it stays positive")
ax.legend(loc="upper right", framealpha=0.9)
figure.colorbar(shades, ax=ax, label="mean loss, KL included")
plt.show()

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# A friend trains a VAE and writes `z = torch.distributions.Normal(mu, sigma).sample()` instead of
# your function. The forward pass looks correct: the samples have the right distribution. Answer in
# three to five sentences:
#
# - Which parts of the network still learn from the reconstruction term, and which parts do not?
# - What changes if the sample is computed from a separate ε?
# - Which property must another distribution have, so that the same trick works? Name one such
#   distribution.

# %% [markdown] answer="way_back" points=10
# **Rubric**
#
# - 4 points: The decoder comes after the sampling step and still learns. No gradient of the
#   reconstruction term reaches the encoder, because the sampled z is a constant for autograd. (The
#   KL alone still trains the encoder, towards the prior. This remark is good, but not required.)
# - 3 points: With a separate ε, z is a deterministic, differentiable function of μ and σ. The
#   randomness is an input. The derivatives by μ and by σ exist for each sample.
# - 3 points: Another distribution qualifies if its samples are a differentiable function of its
#   parameters and of noise that has no parameters. The answer names one example, such as the
#   uniform on [a, b], the exponential, Laplace, logistic or log-normal distribution.
#
# **A model answer.** The decoder gets z as its input and is trained as before. The encoder learns
# nothing from the reconstruction: the sampled z has no computation graph, so the chain rule stops
# there, and only the KL still trains the encoder, towards the prior. If ε is sampled separately
# from N(0, I), z is computed from μ and σ by scaling and shifting: the derivatives are 1 and ε, so
# the error reaches the encoder. The same trick works if the samples are a smooth function of the
# parameters and of noise that does not depend on them. For example, −log(u)/λ with u uniform on (0,
# 1) is an exponential sample with a gradient in λ, but a sample of a discrete distribution is no
# such function, because it jumps.

# %% [markdown]
# ## What next
#
# `03_fc_vae` uses both formulas in a network. The page *Derivations* of the course's documentation
# derives them, and the page *Notation and glossary* lists the parameters of each notebook.
#
# - Rezende, Mohamed & Wierstra 2014, *Stochastic backpropagation and approximate inference in deep
#   generative models*, arXiv:1401.4082. It describes the same trick, found at the same time, and
#   uses it for models with several layers of latents.
# - Jang, Gu & Poole 2017, *Categorical reparameterization with Gumbel-softmax*, arXiv:1611.01144.
#   It replaces a discrete sample by a smooth function of parameters and noise, so that gradients
#   pass.
# - Figurnov, Mohamed & Mnih 2018, *Implicit reparameterization gradients*, arXiv:1805.08498. It
#   computes these gradients for distributions such as the gamma and the beta, whose samples have no
#   simple formula.
