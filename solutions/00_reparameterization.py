# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · A draw with a gradient
#
# *Difficulty: ●○○○○ · about 45 minutes · 100 points*
#
# A variational autoencoder draws random numbers in the middle of a network, and trains the network
# on both sides of the draw. Two short formulas make that possible. One moves the randomness out of
# the gradient's way: the **reparameterization trick**. The other is the price of information: the
# **KL divergence** of a Gaussian from the standard normal.
#
# You will write both, work out two gradients by hand, and then watch what they do: first each of
# them alone, then one against the other. No data, no network and no waiting: everything here has
# one or two numbers, so that every result can be checked on paper.
#
# | what counts | how exact |
# | --- | --- |
# | `reparameterize`, `toy_gradients` | 1e-4 of the largest value |
# | `kl_divergence` against its closed form | 1e-5 of the largest value |
# | `kl_divergence` against 200,000 draws | six standard errors |
#
# (Draws scatter. A right solution falls outside six standard errors less than once in a million
# runs.)
#
# **How to work.** Fill in each `TODO`, run the cell, then run the `check` below it: it tells you
# what holds and what doesn't. Cells without a `TODO` are complete. You may add cells of your own
# anywhere.

# %% setup="imports"
import matplotlib.pyplot as plt
import torch

from autograder import notebook_checks
from vae_utils import plot_kl_per_dimension, plot_posterior_vs_prior, seed_everything

check = notebook_checks("00_reparameterization")

# Colours that stay apart for every kind of colour vision (Okabe & Ito 2008).
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## Why a draw is in the way
#
# An encoder puts out a mean $\mu$ and a standard deviation $\sigma$, a code $z$ is drawn from
# $\mathcal{N}(\mu, \sigma^2)$, and a loss looks at $z$. To train the encoder we need
# $\partial L / \partial \mu$ and $\partial L / \partial \sigma$. Ask PyTorch for a draw, and look
# for the way back:

# %% run="no_way_back"
seed_everything(0)
mu = torch.tensor(2.0, requires_grad=True)
sigma = torch.tensor(1.0, requires_grad=True)
z = torch.distributions.Normal(mu, sigma).sample()
print(f"z = {z:.3f}, and it knows where it came from: {z.requires_grad}")

# %% [markdown]
# `False`: for autograd this z is a constant. A random number generator has no derivative.
#
# **The trick** (Kingma & Welling 2014, section 2.4) is to draw from a distribution that has no
# parameters, and to bring in the parameters afterwards, by arithmetic:
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I).$$
#
# The draw $z$ has the same distribution as before: shifted by $\mu$, stretched by $\sigma$. But now
# $\varepsilon$ is an input like any other, and $z$ is a smooth function of $\mu$ and $\sigma$.
#
# ## Task 1: reparameterize (30 points)
#
# In later notebooks $\varepsilon$ is drawn inside this function. Here it is passed in, so that the
# randomness is in plain sight and every value can be checked.
#
# <details><summary>A hint</summary>
#
# Each of the three arguments is used exactly once. Note that the second is σ itself, not log σ and
# not σ²: nothing needs to be converted.
# </details>


# %% solution="my_draw"
def reparameterize(mu, sigma, eps):
    """Turn standard normal noise into a draw from N(mu, sigma²).

    Args:
        mu: Means, a tensor of any shape, such as (N, Z).
        sigma: Standard deviations, the same shape, positive.
        eps: Draws from N(0, 1), the same shape.

    Returns:
        The draws z, the same shape, as a new tensor: the inputs stay as they are, and gradients
        reach mu and sigma.
    """
    # TODO reparameterize
    ### BEGIN SOLUTION
    return mu + sigma * eps
    ### END SOLUTION


# %% test="reparameterize"
check("reparameterize")

# %% [markdown]
# **What it should look like.** The same 20,000 numbers $\varepsilon$ go through your function three
# times. Each histogram should fill its curve, the exact density. A bad result: a histogram that
# stands beside its curve (something is wrong with $\mu$), or is wider or narrower ($\sigma$).

# %% run="draws"
seed_everything(0)
eps = torch.randn(20_000)
grid = torch.linspace(-7, 5, 400)
figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
for m, s, colour, line in [(0, 1, BLUE, "-"), (2, 0.5, ORANGE, "--"), (-2, 1.5, GREEN, ":")]:
    z = reparameterize(torch.full_like(eps, m), torch.full_like(eps, s), eps)
    ax.hist(z, bins=80, density=True, color=colour, alpha=0.3)
    density = torch.distributions.Normal(m, s).log_prob(grid).exp()
    ax.plot(grid, density, color=colour, linestyle=line, label=f"density of μ = {m}, σ = {s}")
ax.set(xlabel="z", ylabel="density", title="The same noise, shifted and stretched")
ax.legend()
plt.show()

# %% [markdown]
# ## Task 2: two gradients by hand (25 points)
#
# Let the loss be $L(z) = (z - y)^2$. The noise is fixed once it is drawn, so the chain rule goes
# straight through:
#
# $$\frac{\partial L}{\partial \mu} = \frac{\partial L}{\partial z} \cdot
# \frac{\partial z}{\partial \mu}, \qquad
# \frac{\partial L}{\partial \sigma} = \frac{\partial L}{\partial z} \cdot
# \frac{\partial z}{\partial \sigma}.$$
#
# Do it on paper first, for $\mu = 2$, $\sigma = 1$, $\varepsilon = 0.5$ and $y = 3$. Here z is 2.5,
# the loss is 0.25, and the two gradients come out as −1 and −0.5. Then write it for any numbers.
#
# <details><summary>A hint for each factor</summary>
#
# - $\partial L / \partial z$: the derivative of a square. It is shared by both gradients.
# - $\partial z / \partial \mu$ and $\partial z / \partial \sigma$: change one of them a little and
#   hold everything else still. How far does z move?
# - Plain arithmetic works for floats and for tensors alike. If you use autograd instead, mind that
#   a float has no gradient: make it a tensor first.
# </details>


# %% solution="my_gradients"
def toy_gradients(mu, sigma, eps, y):
    """Differentiate L = (z − y)², where z is the reparameterized draw.

    Stands on its own: it does not call `reparameterize`.

    Args:
        mu: The mean, a float or a tensor of shape ().
        sigma: The standard deviation, of the same kind.
        eps: The noise that was drawn, of the same kind.
        y: The target, of the same kind.

    Returns:
        The pair (dL/dmu, dL/dsigma); each a float or a tensor of shape ().
    """
    # TODO toy_gradients
    ### BEGIN SOLUTION
    by_z = 2 * (mu + sigma * eps - y)
    return by_z, by_z * eps
    ### END SOLUTION


# %% test="toy_gradients"
check("toy_gradients")

# %% [markdown]
# The two ways must agree: your gradients on paper, and autograd through your draw.

# %% run="by_autograd"
mu = torch.tensor(2.0, requires_grad=True)
sigma = torch.tensor(1.0, requires_grad=True)
loss = (reparameterize(mu, sigma, torch.tensor(0.5)) - 3.0) ** 2
loss.backward()
by_mu, by_sigma = toy_gradients(2.0, 1.0, 0.5, 3.0)
print(f"by hand:     dL/dmu = {by_mu:.2f}, dL/dsigma = {by_sigma:.2f}")
print(f"by autograd: dL/dmu = {mu.grad:.2f}, dL/dsigma = {sigma.grad:.2f}")

# %% [markdown]
# ### Follow the gradients
#
# Gradient descent from $(\mu, \sigma) = (2, 1)$, twice. On the left the noise is frozen at
# $\varepsilon = 0.5$. The loss is then zero along a whole line, and descent stops where it meets
# it: $\mu$ and $\sigma$ have learned to serve this one draw. On the right every step draws new
# noise, as training does. What falls then is the loss *on average*,
#
# $$\mathbb{E}_\varepsilon\big[(\mu + \sigma\varepsilon - y)^2\big] = (\mu - y)^2 + \sigma^2.$$
#
# **What it should look like.** Left: a short straight path into the pale valley, and no
# further. Right: a ragged path that ends near (3, 0). A bad result: a path that climbs (a sign), or
# one that leaves $\sigma$ where it was (the second gradient).

# %% run="descent"
seed_everything(0)


def descend(draw_noise, steps=500, rate=0.02):
    """Follow toy_gradients from (2, 1) towards y = 3; returns every (mu, sigma) on the way."""
    path = [(2.0, 1.0)]
    for _ in range(steps):
        mu, sigma = path[-1]
        by_mu, by_sigma = toy_gradients(mu, sigma, draw_noise(), 3.0)
        path.append((mu - rate * float(by_mu), sigma - rate * float(by_sigma)))
    return torch.tensor(path)


def draw_path(ax, path, colour, label):
    """Draw a path with a circle where it starts and a star where it ends."""
    ax.plot(path[:, 0], path[:, 1], color=colour, linewidth=1.8, label=label)
    ax.plot(*path[0], "o", *path[-1], "*", color=colour, markersize=11, markeredgecolor="white")


m, s = torch.meshgrid(torch.linspace(1, 4.5, 120), torch.linspace(-0.3, 2, 120), indexing="xy")
panels = {
    "one frozen draw, ε = 0.5": ((m + 0.5 * s - 3) ** 2, descend(lambda: 0.5)),
    "new noise at every step": ((m - 3) ** 2 + s**2, descend(lambda: torch.randn(()).item())),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for ax, (title, (surface, path)) in zip(axes, panels.items(), strict=True):
    shades = ax.contourf(m, s, surface, levels=[0, 0.05, 0.2, 0.5, 1, 2, 3, 5, 9], cmap="Blues")
    draw_path(ax, path, ORANGE, "descent from ○ to ★")
    ax.set(xlabel="μ", title=title)
    ax.legend(loc="upper right", framealpha=0.9)
axes[0].set_ylabel("σ")
figure.colorbar(shades, ax=axes, label="loss (right: its mean)")
plt.show()

# %% [markdown]
# Look at where the right path ends: $\sigma$ goes to **zero**. To a loss, noise is only a nuisance,
# and gradients that pass through the draw let the model switch it off. An autoencoder that may do
# so forgets how to be random. Something has to pull the other way.
#
# ## Task 3: the KL divergence (35 points)
#
# That something is the second term of the VAE's loss: how far the encoder's Gaussian
# $q = \mathcal{N}(\mu, \mathrm{diag}(\sigma^2))$ lies from the prior $p = \mathcal{N}(0, I)$,
#
# $$D_{KL}(q \,\|\, p) = \mathbb{E}_{z \sim q}\big[\log q(z) - \log p(z)\big].$$
#
# For these two Gaussians the expectation can be worked out (Kingma & Welling 2014, appendix B):
#
# $$D_{KL} = \frac12 \sum_{j=1}^{Z} \big(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\big).$$
#
# Your function takes $\mathtt{logvar} = \log\sigma^2$ in place of $\sigma$, as most networks in
# this course put it out: a network's output may have any sign, a standard deviation may not.
#
# > **A note on the lecture's text.** Its formula puts ½‖x − x̂‖² before this term and its code a
# > binary cross-entropy. Both are right, for a Gaussian and for a Bernoulli decoder;
# > `10_loss_study` compares them. The KL is the same in both. And where it counts 786 output values
# > for a digit, read 784, which is 28 × 28.
#
# <details><summary>Three hints</summary>
#
# - What turns log σ² into σ²? Only one of the four terms needs it.
# - Three numbers to test by hand, with Z = 1: at μ = 0, σ = 1 the KL is 0; at μ = 2, σ = 1 it is 2;
#   at μ = 0, σ = 2 it is 1.5 − log 2 ≈ 0.807.
# - `(N, Z)` goes in and `(N,)` comes out: which axis is summed over?
# </details>


# %% solution="my_kl"
def kl_divergence(mu, logvar):
    """The KL divergence of N(mu, exp(logvar)) from N(0, I), in nats, one for each row.

    Args:
        mu: Means, (N, Z).
        logvar: Log-variances log σ², (N, Z), of any sign.

    Returns:
        The divergences, (N,): summed over latents, not over rows. The inputs stay as they are, and
        gradients reach both.
    """
    # TODO kl_divergence
    ### BEGIN SOLUTION
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
    ### END SOLUTION


# %% test="kl_divergence"
check("kl_divergence")

# %% [markdown]
# ### The closed form beside plain counting
#
# The definition is a mean over draws, so it can be estimated without any algebra: draw from $q$,
# average $\log q(z) - \log p(z)$. The lines are your closed form; each dot averages 2,000 draws,
# made with your `reparameterize`, and its bar is two standard errors long in each direction.
#
# **What it should look like.** Lines through the dots, within nearly every bar; zero at $\mu = 0$
# and at $\sigma = 1$, and nowhere below. In the mean it is a parabola. In σ it is lopsided: a cloud
# that is too narrow costs without limit, which is just what keeps $\sigma$ from going to zero. A
# bad result: a line that is steeper than the dots (the ½), or that touches zero elsewhere (σ, σ²
# and log σ² mixed up).

# %% run="kl_curves"
seed_everything(0)


def kl_by_counting(mu, sigma, draws=2000):
    """Estimate the KL for each entry of mu and sigma, (K,); returns means and standard errors."""
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
    ax.errorbar(places, means, 2 * errors, fmt="o", color=ORANGE, capsize=3, label="2,000 draws")
    ax.set(xlabel=name, ylabel="KL in nats", title=f"KL as a function of {name[0]}")
    ax.legend(loc="upper center")
plt.show()

# %% [markdown]
# ### What four latents cost
#
# Suppose an encoder has four latents and treats each in its own way. Latent 0 tells images apart:
# means far from each other, narrow clouds. Latent 1 says nothing: it is the prior, whatever the
# image. Latent 2 is the prior moved aside; latent 3 is centred but too narrow. The first figure
# shows what all images together make of each latent, the second what each costs. Dimensions add,
# so the bars sum to the mean of your `kl_divergence`. Only latent 0 gets information for its money.

# %% run="clouds"
seed_everything(0)
n_images = 500
mu = torch.stack(
    [torch.randn(n_images), torch.zeros(n_images), torch.ones(n_images), torch.zeros(n_images)], 1
)
sigma = torch.tensor([0.2, 1.0, 1.0, 0.4]).expand(n_images, 4)
plot_posterior_vs_prior(mu, 2 * sigma.log(), title="Four latents beside the prior")

# %% run="cost"
print(f"your kl_divergence, mean over images: {kl_divergence(mu, 2 * sigma.log()).mean():.2f} nats")
plot_kl_per_dimension(mu, 2 * sigma.log())

# %% [markdown]
# ## Both together: the smallest VAE there is
#
# One mean, one log-variance, one target $y = 3$. The loss is a reconstruction term plus your KL,
# and autograd goes through both of your functions:
#
# $$\mathbb{E}_\varepsilon\big[(z - y)^2\big] + D_{KL} = (\mu - y)^2 + \sigma^2 + \tfrac12\big(\mu^2
# + \sigma^2 - 1 - \log\sigma^2\big).$$
#
# Set its derivatives to zero and you find $\mu = 2$ and $\sigma^2 = \tfrac13$: the prior pulls the
# mean back from 3, and $\sigma$ stays away from 0.
#
# **What it should look like.** With the KL the path ends at the cross. Without it, the noise dies:
# that path goes to $\mu = 3$ and creeps on down towards $\sigma = 0$. A bad result:
# both paths end in the same place, which means that the KL has no gradient.

# %% run="tug_of_war"
seed_everything(0)


def train(kl_weight, steps=1500):
    """Minimise the loss over mu and logvar; returns every (mu, sigma) on the way."""
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
ax.set(xlabel="μ", ylabel="σ", title="The loss wants no noise, the KL wants the prior")
ax.legend(loc="upper right", framealpha=0.9)
figure.colorbar(shades, ax=ax, label="mean of the loss with KL")
plt.show()

# %% [markdown]
# ## In your own words (10 points, read by a person)
#
# A friend trains a VAE in which `z = torch.distributions.Normal(mu, sigma).sample()` stands in
# place of your function. The forward pass looks fine: the draws have the right distribution. In
# three to five sentences: which parts of the network still learn something from the reconstruction
# and which don't, what does writing the draw with a separate ε change about this, and what must be
# true of another distribution for the same trick to work there? Name one that qualifies.

# %% [markdown] answer="way_back" points=10
# **Rubric**
#
# - 4 points: the decoder comes after the draw and still learns; no gradient of the reconstruction
#   reaches the encoder, since the drawn z is a constant to autograd. (That the KL alone still
#   trains the encoder, towards the prior, is worth a remark but isn't required.)
# - 3 points: with ε drawn separately, z is a deterministic, differentiable function of μ and σ:
#   the randomness is an input, and the derivatives by μ and by σ exist for each draw.
# - 3 points: another distribution qualifies if its draws are a differentiable function of its
#   parameters and of noise that has none; one example, such as the uniform on [a, b], the
#   exponential, Laplace, logistic or log-normal.
#
# **A model answer.** The decoder sees z as its input and is trained as before, but the
# reconstruction tells the encoder nothing: the sampled z carries no graph, so the chain rule ends
# there, and only the KL still moves the encoder, straight towards the prior. When ε is drawn from
# N(0, I) beside the network, z is computed from μ and σ by a shift and a stretch, whose derivatives
# are 1 and ε, and so the error reaches the encoder through the draw. The same works wherever a draw
# can be written as a smooth function of the parameters and of noise that does not depend on them:
# −log(u)/λ with u uniform on (0, 1) is an exponential draw with a gradient in λ. A discrete draw is
# no such function, since it jumps.
