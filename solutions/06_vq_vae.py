# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · A vector-quantized autoencoder
#
# *Difficulty: ●●●●○ · about 150 minutes · 100 points*
#
# A VAE's code is a cloud. A **VQ-VAE**'s code is a word: the encoder looks at each small region of
# the image and picks, from a **codebook** of K vectors that all images share, the one vector that
# fits best. An image becomes a grid of whole numbers, and the decoder paints from these alone.
#
# Picking has no gradient, so training takes a trick and a loss with three terms. You will build
# both, in two versions of the codebook; then you will take one of the three terms away, and watch
# what it was there for.
#
# | what counts | limit |
# | --- | --- |
# | reconstruction loss, as a share of the data's variance | below 0.15 within 15 epochs |
# | perplexity, the number of code vectors in use | above 4, with the commitment term |
# | trainable parameters | no limit here; the size below has 49,287 |
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
    codebook_perplexity,
    count_parameters,
    load_dataset,
    make_loader,
    model_summary,
    plot_codebook,
    plot_losses,
    plot_reconstructions,
    plot_samples,
    progress,
    seed_everything,
)

check = notebook_checks("06_vq_vae")

# %% [markdown]
# ## The data
#
# The source of this assignment trains on CIFAR-10, 50,000 colour images of 32 × 32. That set is
# downloaded when you ask for it; so that the notebook runs anywhere, it starts with something
# smaller of the same shape: 32 × 32 patches of two colour photographs. For CIFAR-10, set
# `profile = "full"`, and take the source's sizes from the table under *Training*.

# %% run="data"
seed_everything(0)
profile = "quick"

name, source = {"quick": ("photo_patches", "auto"), "full": ("cifar10", "full")}[profile]
train_set = load_dataset(name, source=source)
test_set = load_dataset(name, train=False, source=source)
if profile == "quick":
    train_set, test_set = train_set.subset(2000), test_set.subset(1000)
plot_samples(train_set.images, title="Images, as bytes")

# %% [markdown]
# ### Units
#
# The model sees images shifted by one half, from [0, 1] to [−½, ½], so that grey is 0. And a
# squared error alone says little: 0.01 is excellent for a street scene and poor for fog. Divided
# by the **variance of the data** it has a meaning. A model that always answers with the mean
# colour gets 1, a perfect one 0:
#
# $$\text{reconstruction loss} = \frac{1}{\mathrm{Var}(x)} \cdot \text{mean of }
# (\hat{x} - x)^2 .$$
#
# This only works if both are measured in the same units.
#
# <details><summary>A hint</summary>
#
# Shifting does not change a variance, stretching does. One number is wanted: the variance of all
# pixels of all images and colours together.
# </details>


# %% solution="my_units"
def normalize(x):
    """Shift images from [0, 1] to [−½, ½].

    Args:
        x: Images, (N, C, H, W), in [0, 1].

    Returns:
        What the model sees, of the same shape, in [−½, ½].
    """
    # TODO normalize
    ### BEGIN SOLUTION
    return x - 0.5
    ### END SOLUTION


def data_variance(x):
    """Compute the variance of what the model sees.

    Args:
        x: Images, (N, C, H, W), in [0, 1].

    Returns:
        One number: the variance over all entries of normalize(x), a float or a scalar tensor.
    """
    # TODO data_variance
    ### BEGIN SOLUTION
    return normalize(x).var().item()
    ### END SOLUTION


# %% test="units"
check("units")

# %% run="variance"
x_test = normalize(test_set.images / 255)
variance = data_variance(train_set.images / 255)
print(f"variance of the training data: {variance:.4f}")

# %% [markdown]
# ## The vector quantizer
#
# The encoder puts out a D-dimensional vector at each of H · W places. Write $z$ for one of them and
# $e_1, \dots, e_K$ for the codebook. Four things happen.
#
# **1. The nearest code vector** (van den Oord et al. 2017, equations 1 and 2). Each place gets one
# of K:
#
# $$k = \arg\min_j \lVert z - e_j \rVert^2, \qquad
# \lVert z - e_j \rVert^2 = \lVert z \rVert^2 - 2\, z \cdot e_j + \lVert e_j \rVert^2 .$$
#
# **2. The loss** pulls both sides together, each by a term of its own (equation 3, its last two
# terms). sg is the *stop-gradient*: its argument counts as a constant, `.detach()` in PyTorch.
#
# $$L = \underbrace{\tfrac1n \lVert \mathrm{sg}[z] - e_k \rVert^2}_{\text{codebook loss}} +
# \beta \cdot \underbrace{\tfrac1n \lVert z - \mathrm{sg}[e_k] \rVert^2}_{\text{commitment loss}}$$
#
# Both terms have the same value; they differ in who moves. Here they are **means over all n
# elements**.
#
# > **Erratum.** The printed assignment has a stop-gradient in the codebook loss only, and none in
# > the commitment loss. Then the commitment loss would move the code vectors as well. Each term
# > moves one side.
#
# **3. The straight-through output.** The decoder gets $e_k$. But $\arg\min$ is flat: no gradient
# comes back through it. So on the way back we pretend that nothing happened, and hand the decoder's
# gradient at $e_k$ to $z$ as it is (section 3.2; the idea is from Bengio, Léonard & Courville
# 2013).
#
# **4. The perplexity** (Jelinek, Mercer, Bahl & Baker 1977), the exponential of an entropy, says
# how many code vectors are in use, in effect. With $p_j$ the share of places that picked vector j,
#
# $$\text{perplexity} = \exp\Big(-\sum_j p_j \ln p_j\Big),$$
#
# which is K if all are used alike, and 1 if all places pick the same.
#
# <details><summary>A hint for each TODO</summary>
#
# - **codebook**: an `nn.Embedding` holds a matrix called `weight`. Its usual start, N(0, 1), is
#   wider than what a fresh encoder puts out; uniform in [−½, ½] leaves fewer vectors unused.
# - **nearest code**: `inputs` is (N, D, H, W), but a row of the distance matrix belongs to one
#   *place*. Which axis has to come last before you flatten? `F.one_hot` gives whole numbers;
#   matrix products want floats.
# - **codes**: a product of two matrices looks all rows up at once. Then the way back to
#   (N, D, H, W), which is not a reshape alone.
# - **loss**: `F.mse_loss` twice. Ask of each term: who is to move?
# - **straight-through**: something with the *value* of `codes` and the *gradient* of `inputs`. What
#   are value and gradient of `inputs - inputs.detach()`?
# - **perplexity**: the logarithm of 0 is −∞, and 0 · (−∞) is not a number: add 1e-10 inside. Two
#   vectors used 3 : 1 give 1.755.
# </details>


# %% solution="vector_quantizer"
class VectorQuantizer(nn.Module):
    """Replaces the vector at each place by the nearest one of a codebook.

    Args:
        num_embeddings: Number of code vectors, K.
        embedding_dim: Their size, D.
        commitment_cost: Weight of the commitment loss, β.

    Attributes:
        embedding: Holds the codebook as `embedding.weight`, (K, D).
    """

    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self.commitment_cost = commitment_cost

        # TODO codebook: self.embedding, uniform in [−½, ½].
        ### BEGIN SOLUTION
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)
        nn.init.uniform_(self.embedding.weight, -0.5, 0.5)
        ### END SOLUTION

    def forward(self, inputs):
        """Quantize the encoder's output.

        Args:
            inputs: The encoder's output z, (N, D, H, W); any H and W.

        Returns:
            The tuple (loss, quantized, perplexity, encodings): codebook loss plus β times
            commitment loss, a scalar; the nearest code vectors, (N, D, H, W), which hand the
            gradient they get to `inputs`; the perplexity, a scalar; and which vector each place
            picked, one-hot, (N·H·W, K), rows in the order (N, H, W). All lie on the inputs' device.
        """
        # TODO nearest code: encodings, one-hot, (N·H·W, K).
        ### BEGIN SOLUTION
        codebook = self.embedding.weight
        places = inputs.permute(0, 2, 3, 1)
        flat = places.reshape(-1, codebook.shape[1])
        distances = (flat**2).sum(1, keepdim=True) - 2 * flat @ codebook.T + (codebook**2).sum(1)
        encodings = F.one_hot(distances.argmin(1), len(codebook)).to(inputs)
        ### END SOLUTION

        # TODO codes: the code vectors that were picked, (N, D, H, W).
        ### BEGIN SOLUTION
        codes = (encodings @ codebook).view(places.shape).permute(0, 3, 1, 2)
        ### END SOLUTION

        # TODO loss
        ### BEGIN SOLUTION
        codebook_loss = F.mse_loss(codes, inputs.detach())
        commitment_loss = F.mse_loss(inputs, codes.detach())
        loss = codebook_loss + self.commitment_cost * commitment_loss
        ### END SOLUTION

        # TODO straight-through: quantized, with the value of codes and the gradient of inputs.
        ### BEGIN SOLUTION
        quantized = codes.detach() + (inputs - inputs.detach())
        ### END SOLUTION

        # TODO perplexity
        ### BEGIN SOLUTION
        shares = encodings.mean(0)
        perplexity = torch.exp(-(shares * torch.log(shares + 1e-10)).sum())
        ### END SOLUTION

        return loss, quantized, perplexity, encodings


# %% [markdown]
# ### Check each part
#
# Each part is judged by itself, with whatever code vectors your quantizer picked, so that a slip
# in one place costs you nothing elsewhere. The loss is judged by its value *and* by the gradients
# that reach z and the codebook: the value alone can't tell who moves.

# %% test="nearest_code"
check("nearest_code")

# %% test="straight_through"
check("straight_through")

# %% test="vq_loss"
check("vq_loss")

# %% test="perplexity"
check("perplexity")

# %% [markdown]
# ## A codebook that follows by itself
#
# The codebook loss asks each code vector to move towards the mean of the z that picked it. So why
# not put it there? An **exponential moving average** does, without any gradient (van den Oord et
# al. 2017, appendix A.1). With $n_j$ the number of places in the batch that picked vector j, and
# decay γ:
#
# $$N_j \leftarrow \gamma N_j + (1-\gamma)\, n_j, \qquad
# m_j \leftarrow \gamma\, m_j + (1-\gamma) \sum_{z \text{ picked } j} z, \qquad
# e_j \leftarrow m_j / \tilde{N}_j .$$
#
# An unused vector would be divided by 0, so the sizes are smoothed, keeping their total
# $N = \sum_j N_j$:
#
# $$\tilde{N}_j = \frac{N_j + \epsilon}{N + K \epsilon} \cdot N .$$
#
# The codebook loss is no longer needed; the loss is β times the commitment loss. **Order matters**:
# the batch is quantized with the codebook as it was, and only then, and in training mode only, the
# codebook is updated.
#
# <details><summary>Hints</summary>
#
# - Your `VectorQuantizer` already does most of it: `super().forward(inputs)`.
# - A parameter that no gradient should reach: `requires_grad_(False)`. A tensor that belongs to a
#   module without being trained: `register_buffer(name, tensor)`.
# - Put the update under `torch.no_grad()`, and write into the tensors that are there (`mul_`,
#   `add_`, `copy_`).
# </details>


# %% solution="vector_quantizer_ema"
class VectorQuantizerEMA(VectorQuantizer):
    """A vector quantizer whose codebook is moved by averages instead of gradients.

    Args:
        num_embeddings: Number of code vectors, K.
        embedding_dim: Their size, D.
        commitment_cost: Weight of the commitment loss, β.
        decay: Weight of the past in the averages, γ.
        epsilon: Smooths the cluster sizes, ε.

    Attributes:
        embedding: Holds the codebook as `embedding.weight`, (K, D); no gradient reaches it.
        cluster_size: Buffer, (K,): the averaged counts N, zeros at the start.
        cluster_sum: Buffer, (K, D): the averaged sums m, a copy of the codebook at the start.
    """

    def __init__(self, num_embeddings, embedding_dim, commitment_cost, decay=0.99, epsilon=1e-5):
        super().__init__(num_embeddings, embedding_dim, commitment_cost)
        self.decay = decay
        self.epsilon = epsilon

        # TODO averages: freeze the codebook, register both buffers.
        ### BEGIN SOLUTION
        self.embedding.weight.requires_grad_(False)
        self.register_buffer("cluster_size", torch.zeros(num_embeddings))
        self.register_buffer("cluster_sum", self.embedding.weight.clone())
        ### END SOLUTION

    def forward(self, inputs):
        """Quantize, then update the codebook if in training mode.

        Args:
            inputs: The encoder's output z, (N, D, H, W).

        Returns:
            The tuple (loss, quantized, perplexity, encodings) as in `VectorQuantizer`; the loss is
            β times the commitment loss.
        """
        # TODO forward
        ### BEGIN SOLUTION
        _, quantized, perplexity, encodings = super().forward(inputs)
        flat = inputs.permute(0, 2, 3, 1).flatten(0, 2)
        loss = self.commitment_cost * F.mse_loss(flat, encodings @ self.embedding.weight)
        if self.training:
            self.update(flat, encodings)
        ### END SOLUTION
        return loss, quantized, perplexity, encodings

    @torch.no_grad()
    def update(self, flat, encodings):
        """Move averages and codebook by one batch.

        Args:
            flat: The vector at each place, (N·H·W, D).
            encodings: Which code vector it picked, one-hot, (N·H·W, K).
        """
        # TODO update
        ### BEGIN SOLUTION
        gamma = self.decay
        self.cluster_size.mul_(gamma).add_((1 - gamma) * encodings.sum(0))
        self.cluster_sum.mul_(gamma).add_((1 - gamma) * encodings.T @ flat)
        total = self.cluster_size.sum()
        smoothed = self.cluster_size + self.epsilon
        sizes = smoothed / (total + len(smoothed) * self.epsilon) * total
        self.embedding.weight.copy_(self.cluster_sum / sizes[:, None])
        ### END SOLUTION


# %% test="ema"
check("ema")

# %% [markdown]
# ## Encoder and decoder
#
# Two convolutions of stride 2 halve the image twice: 32 × 32 becomes 8 × 8 places, and each place
# answers for about a 4 × 4 piece of the image. A **residual block** (He et al. 2016) then adds a
# correction to what it is given, `x + f(x)`; with f near 0 it changes nothing, which makes deep
# stacks trainable. The decoder does the same backwards.
#
# | sizes for an image (3, 32, 32) | layer |
# | --- | --- |
# | (h/2, 16, 16) | convolution 4 × 4, stride 2, padding 1; ReLU |
# | (h, 8, 8) | convolution 4 × 4, stride 2, padding 1; ReLU |
# | (h, 8, 8) | convolution 3 × 3, padding 1; then the residual stack |
#
# In a residual block, f is: ReLU, convolution 3 × 3 to `num_residual_hiddens` channels, ReLU,
# convolution 1 × 1 to `num_hiddens` channels; no biases.
#
# <details><summary>Hints</summary>
#
# - Make every block anew. `[block] * 3` is the same block three times, with one set of weights. And
#   PyTorch only finds layers in an `nn.ModuleList` or `nn.Sequential`, not in a plain list.
# - `nn.ReLU(inplace=True)` as the first layer of f would overwrite x before it is added: you would
#   compute relu(x) + f(x).
# - A transposed convolution 4 × 4 with stride 2 and padding 1 doubles the size exactly.
# - Pixels lie in [−½, ½] here: leave the decoder's last layer without an activation.
# </details>


# %% solution="networks"
class Residual(nn.Module):
    """Adds a correction to its input: x + f(x).

    Args:
        in_channels: Channels of x; the same as `num_hiddens`, so that the two can be added.
        num_hiddens: Channels of f(x).
        num_residual_hiddens: Channels inside f.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_hiddens):
        super().__init__()
        # TODO residual layers: f.
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, num_residual_hiddens, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(num_residual_hiddens, num_hiddens, 1, bias=False),
        )
        ### END SOLUTION

    def forward(self, x):
        """Map (N, num_hiddens, H, W) to the same shape."""
        # TODO residual forward
        ### BEGIN SOLUTION
        return x + self.layers(x)
        ### END SOLUTION


class ResidualStack(nn.Module):
    """Several residual blocks, then one ReLU.

    Args:
        in_channels: Channels of the input; the same as `num_hiddens`.
        num_hiddens: Channels of the output.
        num_residual_layers: Number of blocks, each with weights of its own.
        num_residual_hiddens: Channels inside the blocks.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_layers, num_residual_hiddens):
        super().__init__()
        # TODO residual stack
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            *(
                Residual(in_channels, num_hiddens, num_residual_hiddens)
                for _ in range(num_residual_layers)
            ),
            nn.ReLU(),
        )
        ### END SOLUTION

    def forward(self, x):
        """Map (N, num_hiddens, H, W) to the same shape, without negative values."""
        # TODO residual stack forward
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


class Encoder(nn.Module):
    """Maps images (N, in_channels, H, W) to features (N, num_hiddens, H/4, W/4).

    Args:
        in_channels: Channels of the image, 3 for colour.
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks.
        num_residual_hiddens: Channels inside them.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_layers, num_residual_hiddens):
        super().__init__()
        # TODO encoder layers
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, num_hiddens // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(num_hiddens // 2, num_hiddens, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(num_hiddens, num_hiddens, 3, padding=1),
            ResidualStack(num_hiddens, num_hiddens, num_residual_layers, num_residual_hiddens),
        )
        ### END SOLUTION

    def forward(self, x):
        """Map images to features; H and W are multiples of 4."""
        # TODO encoder forward
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


class Decoder(nn.Module):
    """Maps quantized places (N, in_channels, H/4, W/4) to colour images (N, 3, H, W).

    Args:
        in_channels: Size of a code vector, D.
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks.
        num_residual_hiddens: Channels inside them.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_layers, num_residual_hiddens):
        super().__init__()
        # TODO decoder layers: convolution 3 × 3, the stack, then twice the size and twice again.
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, num_hiddens, 3, padding=1),
            ResidualStack(num_hiddens, num_hiddens, num_residual_layers, num_residual_hiddens),
            nn.ConvTranspose2d(num_hiddens, num_hiddens // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(num_hiddens // 2, 3, 4, stride=2, padding=1),
        )
        ### END SOLUTION

    def forward(self, quantized):
        """Map quantized places to images that are meant to lie in [−½, ½]."""
        # TODO decoder forward
        ### BEGIN SOLUTION
        return self.layers(quantized)
        ### END SOLUTION


# %% test="residual"
check("residual")

# %% test="encoder"
check("encoder")

# %% test="decoder"
check("decoder")

# %% [markdown]
# ## The whole model
#
# Between the encoder's h channels and the codebook's D stands one convolution 1 × 1. It is part of
# `self.encoder` here, so that `self.encoder(x)` is the z that gets quantized.


# %% solution="my_model"
class Model(nn.Module):
    """A VQ-VAE for colour images.

    Args:
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks, in encoder and decoder each.
        num_residual_hiddens: Channels inside them.
        num_embeddings: Number of code vectors, K.
        embedding_dim: Their size, D.
        commitment_cost: Weight of the commitment loss, β.
        decay: 0 for a codebook that is trained by gradients; above 0 for one that follows by
            moving averages with this decay.

    Attributes:
        encoder: Maps images (N, 3, H, W) to z, (N, D, H/4, W/4): an `Encoder`, then a 1 × 1
            convolution.
        vq_vae: The quantizer, a `VectorQuantizer` or a `VectorQuantizerEMA`.
        decoder: A `Decoder`.
    """

    def __init__(
        self,
        num_hiddens,
        num_residual_layers,
        num_residual_hiddens,
        num_embeddings,
        embedding_dim,
        commitment_cost,
        decay=0,
    ):
        super().__init__()
        # TODO model: self.encoder, self.vq_vae, self.decoder.
        ### BEGIN SOLUTION
        sizes = (num_hiddens, num_residual_layers, num_residual_hiddens)
        self.encoder = nn.Sequential(Encoder(3, *sizes), nn.Conv2d(num_hiddens, embedding_dim, 1))
        if decay > 0:
            self.vq_vae = VectorQuantizerEMA(num_embeddings, embedding_dim, commitment_cost, decay)
        else:
            self.vq_vae = VectorQuantizer(num_embeddings, embedding_dim, commitment_cost)
        self.decoder = Decoder(embedding_dim, *sizes)
        ### END SOLUTION

    def forward(self, x):
        """Encode, quantize, decode.

        Calls `self.encoder`, `self.vq_vae` and `self.decoder`.

        Args:
            x: Images, (N, 3, H, W), in [−½, ½]; H and W are multiples of 4.

        Returns:
            The tuple (loss, x_recon, perplexity): the quantizer's loss, a scalar;
            reconstructions (N, 3, H, W); and the quantizer's perplexity, a scalar.
        """
        # TODO forward
        ### BEGIN SOLUTION
        z = self.encoder(x)
        loss, quantized, perplexity, _ = self.vq_vae(z)
        return loss, self.decoder(quantized), perplexity
        ### END SOLUTION


# %% test="model"
check("model")

# %% [markdown]
# ## Training
#
# Choose the sizes and an optimizer. The source's are made for 15,000 updates on CIFAR-10; the small
# ones train in seconds on a processor. Keep the commitment term in this model: taking it out comes
# next.
#
# | | source, CIFAR-10 | small |
# | --- | --- | --- |
# | `num_hiddens`, `num_residual_layers`, `num_residual_hiddens` | 128, 2, 32 | 32, 2, 16 |
# | `num_embeddings`, `embedding_dim` | 512, 64 | 64, 4 |
# | `commitment_cost` | 0.25 | 0.25 |
# | `decay` | 0, or 0.99 | 0, or 0.8 |
# | `batch_size`, learning rate of Adam | 256, 1e-3 | 32, 2e-3 |
# | `n_epochs` | 77, which are 15,000 updates | 8; at most 15 in what you hand in |
#
# A large codebook is hard to start. From uniform numbers, 512 vectors of 64 with moving averages
# ended in our hands with one vector for all places (perplexity 1). Where that happens, start from
# what the untrained encoder makes of some images: copy 512 of its vectors into the codebook and
# into `cluster_sum`, and set `cluster_size` to 1.

# %% solution="settings"
seed_everything(0)

# TODO settings
### BEGIN SOLUTION
num_hiddens = 32
num_residual_layers = 2
num_residual_hiddens = 16
num_embeddings = 64
embedding_dim = 4
commitment_cost = 0.25
decay = 0
batch_size = 32
n_epochs = 8
### END SOLUTION

sizes = (num_hiddens, num_residual_layers, num_residual_hiddens, num_embeddings, embedding_dim)
model = Model(*sizes, commitment_cost, decay)

# TODO optimizer: Adam, over the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
### END SOLUTION

# %% run="summary"
model_summary(model.encoder, (3, 32, 32))
model_summary(model.decoder, (embedding_dim, 8, 8))
codebook_size = num_embeddings * embedding_dim
# The two halves by themselves: what is between them has no layers to list.
print(f"{count_parameters(model):,} trainable parameters, with the codebook's {codebook_size:,};")
print("this assignment sets no budget.")


# %% setup="train_step"
def train_step(model, optimizer, x, variance):
    """One update of the parameters.

    Args:
        model: Gives (loss, x_recon, perplexity).
        optimizer: Of its parameters.
        x: Images in [−½, ½], (N, 3, H, W).
        variance: Of the data; a number, or (N, 1, 1, 1).

    Returns:
        The whole loss, and the reconstructions that it was computed from.
    """
    vq_loss, x_recon, _ = model(x)
    loss = torch.mean((x_recon - x) ** 2 / variance) + vq_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_recon


# %% [markdown]
# The loop below is the whole of training. After each epoch it also looks at images that the model
# has never seen: how many code vectors do they use, and how large is what the encoder puts out?
#
# - **Good**: the reconstruction loss passes 0.15 after 3 to 5 epochs, the perplexity climbs all the
#   way, and the encoder's outputs keep their size.
# - **Bad**: a reconstruction loss of 1 means that the decoder paints the mean colour whatever it is
#   given. A perplexity near 1 says why: all places pick the same code vector.


# %% run="train"
def fit(model, optimizer):
    """Train; give the curves of reconstruction loss, perplexity and size of z, one per epoch."""
    curves = {"reconstruction loss": [], "perplexity": [], "size of z": []}
    loader = make_loader(train_set, batch_size, transform=normalize)
    for epoch in range(n_epochs):
        total = 0.0
        model.train()
        for x, _ in progress(loader, f"epoch {epoch + 1}/{n_epochs}"):
            _, x_recon = train_step(model, optimizer, x, variance)
            total += F.mse_loss(x_recon, x).item() / variance * len(x)
        model.eval()
        with torch.no_grad():
            z = model.encoder(x_test[:500])
            _, _, perplexity = model(x_test[:500])
        curves["reconstruction loss"].append(total / len(train_set))
        curves["perplexity"].append(perplexity.item())
        curves["size of z"].append(z.std().item())
    return curves


history = {"with commitment": fit(model, optimizer)}
train_losses = history["with commitment"]["reconstruction loss"]
for epoch, (loss, used) in enumerate(
    zip(train_losses, history["with commitment"]["perplexity"], strict=True), 1
):
    print(f"epoch {epoch}: reconstruction loss {loss:.3f}, perplexity on test images {used:.1f}")

# %% run="loss_curve"
plot_losses(
    {"training": train_losses},
    threshold=0.15,
    title="Reconstruction loss",
    y_label="squared error / variance",
)

# %% [markdown]
# This check looks at the model that you have just trained. When your work is graded, your model is
# trained again from scratch, with your settings, on the grader's own patches; the grader computes
# the reconstruction loss and the perplexity itself, from your codebook and your decoder.

# %% test="training"
check("training")

# %% [markdown]
# ## With and without commitment, by gradient and by average
#
# Now the experiment. Four models from the same sizes: the codebook trained by gradients or moved by
# averages, with the commitment loss or without it (β = 0).
#
# The averages remember about 1/(1 − γ) batches. With the source's γ = 0.99 and its thousands of
# updates that is short; for a few hundred updates take γ = 0.8. In the first epoch you will see
# these codebooks stumble: sums start with the first codebook and sizes with 0, so a vector that no
# place has picked yet is thrown far away, and takes a while to come back.

# %% run="experiment"
models = {"with commitment": model}
for name, beta, gamma in (
    ("without commitment", 0.0, 0),
    ("averages, with commitment", commitment_cost, 0.8),
    ("averages, without commitment", 0.0, 0.8),
):
    seed_everything(0)
    models[name] = Model(*sizes, beta, gamma)
    like_before = torch.optim.Adam(models[name].parameters(), lr=optimizer.defaults["lr"])
    history[name] = fit(models[name], like_before)


# %% run="experiment_losses"
def compare(what, **options):
    """Draw one curve for each model."""
    return plot_losses({name: curves[what] for name, curves in history.items()}, **options)


compare("reconstruction loss", title="Reconstruction loss in training", y_label="error / variance")

# %% run="experiment_perplexity"
compare("perplexity", title="Perplexity on 500 test patches", y_label="code vectors in use")

# %% [markdown]
# ### The range of the encoder's outputs
#
# This is the figure to look at twice. The axis is logarithmic.

# %% run="experiment_range"
compare(
    "size of z",
    title="Standard deviation of the encoder's outputs",
    y_label="standard deviation of z",
    log=True,
)

# %% run="experiment_table"
outputs, encodings = {}, {}
table = [f"{'':30}{'loss':>8}{'perplexity':>12}{'|z| at most':>14}{'|e| at most':>14}"]
for name, one in models.items():
    with torch.no_grad():
        outputs[name] = one.encoder(x_test)
        _, _, _, encodings[name] = one.vq_vae(outputs[name])
        error = F.mse_loss(one(x_test)[1], x_test).item() / variance
    used = codebook_perplexity(encodings[name].argmax(1), num_embeddings)
    reach, size = outputs[name].abs().max(), one.vq_vae.embedding.weight.abs().max()
    table.append(f"{name:30}{error:8.3f}{used:12.1f}{reach:14.3g}{size:14.3g}")
print("\n".join(table))
print("\nloss: on test patches, in shares of the training data's variance")

# %% [markdown]
# ### The codebook, projected
#
# Principal components bring the code vectors, and behind them the encoder's outputs, into the
# plane. With the commitment loss the outputs gather around the code vectors in use.

# %% run="codebook"
name = "with commitment"
plot_codebook(
    model.vq_vae.embedding.weight,
    encodings[name],
    outputs=outputs[name],
    title="Codebook with commitment,",
)

# %% [markdown]
# Without it, look at the numbers on the axes: the whole codebook is one dot, and the outputs are
# far away from it.

# %% run="codebook_without"
name = "without commitment"
plot_codebook(
    models[name].vq_vae.embedding.weight,
    encodings[name],
    outputs=outputs[name],
    title="Codebook without commitment,",
)

# %% run="codebook_averages"
name = "averages, with commitment"
plot_codebook(
    models[name].vq_vae.embedding.weight,
    encodings[name],
    outputs=outputs[name],
    title="Codebook moved by averages,",
)

# %% [markdown]
# ### Reconstructions
#
# Patches from a part of the photographs that no model has seen, from much detail to little. Each
# reconstruction is painted from 8 × 8 whole numbers below 64: 384 bits, where the patch itself has
# 24,576. Good ones keep the large shapes and their colours and lose the grain; a square of one
# colour is what a perplexity near 1 looks like.

# %% run="reconstructions"
by_detail = x_test.std(dim=(2, 3)).mean(1).argsort(descending=True)
chosen = by_detail[:800:80]
rows = {"original": x_test[chosen] + 0.5}
with torch.no_grad():
    for name, one in models.items():
        rows[name] = (one(x_test[chosen])[1] + 0.5).clamp(0, 1)
plot_reconstructions(rows, title="Test patches through four VQ-VAEs")

# %% [markdown]
# ## In your own words (4 × 5 points, read by a person)
#
# **Question 1.** How does the vector quantizer make a *discrete* latent representation? Say what
# an image is turned into, and how many different ones there can be for a 32 × 32 image and K = 64.

# %% [markdown] answer="discrete_latents" points=5
# **Rubric**
#
# - 2 points: each place's vector is replaced by its nearest code vector (smallest distance, argmin)
#   from one finite codebook that all places and images share.
# - 2 points: so an image is a grid of indices, or one-hot vectors; the decoder sees nothing else.
# - 1 point: 8 × 8 places, hence 64⁶⁴ = 2³⁸⁴ different grids.
#
# **A model answer.** The encoder gives a vector at each of 8 × 8 places. The quantizer measures
# its distance to all K code vectors and puts the nearest one in its place, so that only the *index*
# of that vector is left of what the encoder said. The image is now a grid of 64 whole numbers from
# 0 to 63, and the decoder sees the code vectors that they name and nothing else. There are 64⁶⁴, or
# 2³⁸⁴, such grids.

# %% [markdown]
# **Question 2.** What are `num_hiddens`, `num_residual_hiddens` and `num_residual_layers` for? Say
# for each what gets larger, better or slower when you double it.

# %% [markdown] answer="hyperparameters" points=5
# **Rubric**
#
# - 2 points: `num_hiddens` is the number of channels of the features between the layers of encoder
#   and decoder, their width; most convolutions have it on both sides, so their parameters and time
#   grow with its square.
# - 1 point: `num_residual_hiddens` is the width inside a residual block, its bottleneck: what one
#   correction f(x) can express; costs grow in proportion.
# - 1 point: `num_residual_layers` is the number of blocks, the depth: more corrections one after
#   the other, and a larger region that each place can see; costs grow in proportion.
# - 1 point: none of them changes the latent grid or the codebook: the information that passes is
#   set by K and the number of places.
#
# **A model answer.** `num_hiddens` is how many features encoder and decoder keep at each place.
# Doubling it lets them describe more at a price of about four times the parameters, since most
# convolutions go from `num_hiddens` to `num_hiddens` channels. `num_residual_hiddens` is the
# narrower width inside each residual block and limits how rich one correction can be;
# `num_residual_layers` says how many corrections follow one another, and each adds a 3 × 3
# convolution, so that a place sees one more ring of its neighbours. Both cost in proportion. They
# make encoder and decoder more capable, but what passes between them stays the same: 8 × 8 indices
# into a codebook of K vectors, whatever these three are.

# %% [markdown]
# **Question 3.** What does removing the commitment loss do to the training? Describe it from your
# own figures: reconstruction loss, perplexity, and the two codebook projections.

# %% [markdown] answer="commitment_effect" points=5
# **Rubric**
#
# - 2 points: the reconstruction loss is clearly higher and jumps about, or stays near 1.
# - 2 points: the perplexity stays at a few code vectors or falls back to 1, while with the
#   commitment loss it climbs.
# - 1 point: in the projection the outputs lie many orders of magnitude away from the codebook,
#   instead of around it. (With averages the codebook follows and the effect is much milder; say
#   so for full marks if this is the codebook that is described.)
#
# **A model answer.** With the commitment loss the reconstruction loss falls steadily to 0.08, and
# the perplexity on test patches climbs to about 13. Without it the loss gets to about 0.5 at first,
# then jumps about between 0.6 and 1, and one or two code vectors take nearly all places. In the
# projection with commitment, the outputs lie around the code vectors; without it the codebook
# shrinks to one dot, because the outputs are millions of times larger. With averages the codebook
# follows the outputs, so the perplexity stays up; but both have grown about ninefold, and the loss
# is almost twice as high.

# %% [markdown]
# **Question 4.** *Why* does this happen? Compare the range of the encoder's outputs in both cases,
# and say which terms of the loss can move the encoder, and in which direction.

# %% [markdown] answer="commitment_reason" points=5
# **Rubric**
#
# - 1 point: states the ranges: a few units with the commitment loss; without it, growing by orders
#   of magnitude within the first epochs.
# - 2 points: the codebook loss doesn't move the encoder (stop-gradient), so without commitment only
#   the decoder's gradient does, copied straight through; and that one doesn't depend on how far z
#   is from its code vector: nothing pulls z back, so its size drifts.
# - 2 points: draws the consequence: the codebook can't keep up (each step of the optimizer is
#   small), all z are far from all code vectors, so the choice depends on little more than the
#   direction of z, most vectors are never the nearest, and they get no gradient either.
#
# **A model answer.** With β = 0.25 the outputs stay within a few units of 0, as the code vectors
# do; without it their standard deviation passes 100,000 in the first epoch and 10⁸ soon after. The
# codebook loss can't hold them, since it only moves the code vectors. What is left for the encoder
# is the reconstruction's gradient, which is copied from $e_k$ to z: it says in which direction the
# decoder would like its input to change, but as long as z stays nearest to the same code vector,
# going there changes nothing, and so the push is repeated in every step. Nothing ever pulls z back.
# The code vectors follow by small steps and stay behind; seen from that far away they are all about
# equally near, so a few of them win all places, and the others are never used and never moved.
