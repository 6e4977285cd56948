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
# *Difficulty: ●●●●○ · about 150 minutes · {{total}} points*
#
# A VAE encodes an image as a Gaussian distribution. A **VQ-VAE** encodes it as a grid of whole
# numbers. The encoder computes one vector for each small region of the image. Each vector is
# replaced by the nearest one of K code vectors. These K vectors are the **codebook**; all images
# share it. The decoder gets only the code vectors that were picked.
#
# Picking the nearest vector has no gradient. Training therefore needs a special rule for the
# gradient, and a loss with three terms: reconstruction, codebook and commitment loss. You will
# build both, with two versions of the codebook. Then you will remove the commitment loss and
# observe what changes.
#
# | what is graded | limit |
# | --- | --- |
# | reconstruction loss, as a share of the data's variance | below {{below}} in {{epochs}} epochs |
# | perplexity, the effective number of code vectors in use | above 4, with the commitment term |
# | trainable parameters | no limit here; the model with the small sizes below has 49,287 |
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
# The original assignment trains on CIFAR-10: 50,000 colour images of 32 × 32 pixels. CIFAR-10 is
# downloaded only if you ask for it. So that this notebook runs anywhere, it starts with a smaller
# data set of the same shape: 32 × 32 patches of two colour photographs. For CIFAR-10, set
# `profile = "full"`, and use the sizes of the original assignment from the table under *Training*.

# %% run="data"
seed_everything(0)
profile = "quick"

name, source = {"quick": ("photo_patches", "auto"), "full": ("cifar10", "full")}[profile]
train_set = load_dataset(name, source=source)
test_set = load_dataset(name, train=False, source=source)
if profile == "quick":
    train_set, test_set = train_set.subset(2000), test_set.subset(1000)
plot_samples(train_set.images, title="Training images")

# %% [markdown]
# ### Units
#
# The model gets images that are shifted by one half, from [0, 1] to [−½, ½]. Grey is then 0.
#
# A squared error alone is difficult to interpret: 0.01 is excellent for a street scene and poor for
# fog. We therefore divide it by the **variance of the data**. A model that always outputs the mean
# pixel value gets 1. A perfect model gets 0:
#
# $$\text{reconstruction loss} = \frac{1}{\mathrm{Var}(x)} \cdot \text{mean of }
# (\hat{x} - x)^2 .$$
#
# This is correct only if the error and the variance are measured in the same units.
#
# <details><summary>A hint</summary>
#
# A shift does not change a variance. A scale factor does. The result of `data_variance` is one
# number: the variance over all pixels of all images and colours together.
# </details>


# %% solution="my_units"
def normalize(x):
    """Shift images from [0, 1] to [−½, ½].

    Args:
        x: Images, (N, C, H, W), in [0, 1].

    Returns:
        The model's input, of the same shape, in [−½, ½].
    """
    # TODO normalize
    ### BEGIN SOLUTION
    return x - 0.5
    ### END SOLUTION


def data_variance(x):
    """Compute the variance of the normalized images.

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
# The encoder outputs a D-dimensional vector at each of H · W **positions** (the checks call them
# *places*). We write $z$ for one of these vectors, and $e_1, \dots, e_K$ for the codebook. The
# quantizer does four things.
#
# **1. Find the nearest code vector** (van den Oord et al. 2017, equations 1 and 2). Each position
# picks one of the K code vectors:
#
# $$k = \arg\min_j \lVert z - e_j \rVert^2, \qquad
# \lVert z - e_j \rVert^2 = \lVert z \rVert^2 - 2\, z \cdot e_j + \lVert e_j \rVert^2 .$$
#
# **2. Compute the loss** (equation 3, its last two terms). It moves $z$ and $e_k$ towards each
# other. The operator sg is the *stop-gradient*: it treats its argument as a constant. In PyTorch it
# is `.detach()`.
#
# $$L = \underbrace{\tfrac1n \lVert \mathrm{sg}[z] - e_k \rVert^2}_{\text{codebook loss}} +
# \beta \cdot \underbrace{\tfrac1n \lVert z - \mathrm{sg}[e_k] \rVert^2}_{\text{commitment loss}}$$
#
# The two losses have the same value, but they move different vectors. The codebook loss moves the
# code vector. The commitment loss moves $z$. Here both are **means over all n elements**.
#
# > **Erratum.** The printed assignment has a stop-gradient in the codebook loss only, and none in
# > the commitment loss. The commitment loss would then move the code vectors as well. It must move
# > $z$ only.
#
# **3. Return the straight-through output.** The decoder gets $e_k$. But $\arg\min$ is piecewise
# constant, so no gradient passes through it. In the backward pass we therefore copy the decoder's
# gradient at $e_k$ to $z$ without any change (section 3.2; the idea is from Bengio, Léonard &
# Courville 2013).
#
# **4. Compute the perplexity** (Jelinek, Mercer, Bahl & Baker 1977). It is the exponential of an
# entropy, and measures the effective number of code vectors in use. Let $p_j$ be the fraction of
# positions that picked vector j:
#
# $$\text{perplexity} = \exp\Big(-\sum_j p_j \ln p_j\Big).$$
#
# The perplexity is K if all vectors are used equally often. It is 1 if all positions pick the same
# vector.
#
# <details><summary>A hint for each TODO</summary>
#
# - **codebook**: an `nn.Embedding` has a matrix called `weight`. Its default initialization, N(0,
#   1), is wider than the outputs of an untrained encoder. If you initialize it uniformly in [−½,
#   ½], fewer vectors remain unused.
# - **nearest code**: `inputs` is (N, D, H, W), but a row of the distance matrix belongs to one
#   *position*. Which axis must be the last one before you flatten? `F.one_hot` returns integers,
#   but matrix products need floats.
# - **codes**: one matrix product looks up all rows at once. Then change the result back to (N, D,
#   H, W). A reshape alone is not enough.
# - **loss**: use `F.mse_loss` twice. For each term, ask: which side must move?
# - **straight-through**: you need a tensor with the *value* of `codes` and the *gradient* of
#   `inputs`. What are the value and the gradient of `inputs - inputs.detach()`?
# - **perplexity**: the logarithm of 0 is −∞, and 0 · (−∞) is not a number. Add 1e-10 inside the
#   logarithm. To test your code: two vectors that are used in the ratio 3 : 1 have perplexity
#   1.755.
# </details>


# %% solution="vector_quantizer"
class VectorQuantizer(nn.Module):
    """A quantizer that replaces the vector at each position by the nearest code vector.

    Args:
        num_embeddings: Number of code vectors, K.
        embedding_dim: Size of a code vector, D.
        commitment_cost: Weight of the commitment loss, β.

    Attributes:
        embedding: An `nn.Embedding`; its `weight`, (K, D), is the codebook.
    """

    def __init__(self, num_embeddings, embedding_dim, commitment_cost):
        super().__init__()
        self.commitment_cost = commitment_cost

        # TODO codebook: create self.embedding, with values uniform in [−½, ½].
        ### BEGIN SOLUTION
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)
        nn.init.uniform_(self.embedding.weight, -0.5, 0.5)
        ### END SOLUTION

    def forward(self, inputs):
        """Quantize the encoder's output.

        Args:
            inputs: The encoder's output z, (N, D, H, W); any H and W.

        Returns:
            The tuple (loss, quantized, perplexity, encodings), all on the inputs' device:

            - loss: the codebook loss plus β times the commitment loss, a scalar.
            - quantized: the nearest code vectors, (N, D, H, W). Their gradient is passed to
              `inputs` without any change.
            - perplexity: a scalar.
            - encodings: the code vector that each position picked, one-hot, (N·H·W, K), with rows
              in the order (N, H, W).
        """
        # TODO nearest code: compute encodings, one-hot, (N·H·W, K).
        ### BEGIN SOLUTION
        codebook = self.embedding.weight
        places = inputs.permute(0, 2, 3, 1)
        flat = places.reshape(-1, codebook.shape[1])
        distances = (flat**2).sum(1, keepdim=True) - 2 * flat @ codebook.T + (codebook**2).sum(1)
        encodings = F.one_hot(distances.argmin(1), len(codebook)).to(inputs)
        ### END SOLUTION

        # TODO codes: look up the code vectors that were picked, (N, D, H, W).
        ### BEGIN SOLUTION
        codes = (encodings @ codebook).view(places.shape).permute(0, 3, 1, 2)
        ### END SOLUTION

        # TODO loss: compute the codebook loss plus β times the commitment loss.
        ### BEGIN SOLUTION
        codebook_loss = F.mse_loss(codes, inputs.detach())
        commitment_loss = F.mse_loss(inputs, codes.detach())
        loss = codebook_loss + self.commitment_cost * commitment_loss
        ### END SOLUTION

        # TODO straight-through: quantized has the value of codes and the gradient of inputs.
        ### BEGIN SOLUTION
        quantized = codes.detach() + (inputs - inputs.detach())
        ### END SOLUTION

        # TODO perplexity: compute it from the encodings.
        ### BEGIN SOLUTION
        shares = encodings.mean(0)
        perplexity = torch.exp(-(shares * torch.log(shares + 1e-10)).sum())
        ### END SOLUTION

        return loss, quantized, perplexity, encodings


# %% [markdown]
# ### Check each part
#
# Each check tests one part, with the code vectors that your quantizer picked. An error in one part
# loses the points of that part only. The check of the loss compares its value *and* the gradients
# of z and of the codebook, because the value alone does not show which side moves.

# %% test="nearest_code"
check("nearest_code")

# %% test="straight_through"
check("straight_through")

# %% test="vq_loss"
check("vq_loss")

# %% test="perplexity"
check("perplexity")

# %% [markdown]
# ## A codebook that is updated by moving averages
#
# The codebook loss moves each code vector towards the mean of the z that picked it. An
# **exponential moving average** (EMA) computes such a mean directly, without a gradient (van den
# Oord et al. 2017, appendix A.1). Let $n_j$ be the number of positions in the batch that picked
# vector j, and let γ be the decay:
#
# $$N_j \leftarrow \gamma N_j + (1-\gamma)\, n_j, \qquad
# m_j \leftarrow \gamma\, m_j + (1-\gamma) \sum_{z \text{ picked } j} z, \qquad
# e_j \leftarrow m_j / \tilde{N}_j .$$
#
# At the start, the size $N_j$ of an unused vector is 0, and we cannot divide by 0. The sizes are
# therefore smoothed. Smoothing keeps their total $N = \sum_j N_j$:
#
# $$\tilde{N}_j = \frac{N_j + \epsilon}{N + K \epsilon} \cdot N .$$
#
# The codebook loss is no longer needed. The loss is β times the commitment loss.
#
# **The order is important.** First quantize the batch with the current codebook. Then update the
# codebook, in training mode only.
#
# <details><summary>Hints</summary>
#
# - Your `VectorQuantizer` already does most of the work: call `super().forward(inputs)`.
# - `requires_grad_(False)` makes a parameter that gets no gradient. `register_buffer(name, tensor)`
#   adds a tensor that belongs to a module but is not trained.
# - Put the update under `torch.no_grad()`. Change the existing tensors in place (`mul_`, `add_`,
#   `copy_`).
# </details>


# %% solution="vector_quantizer_ema"
class VectorQuantizerEMA(VectorQuantizer):
    """A vector quantizer whose codebook is updated by moving averages, not by gradients.

    Args:
        num_embeddings: Number of code vectors, K.
        embedding_dim: Size of a code vector, D.
        commitment_cost: Weight of the commitment loss, β.
        decay: Weight of the past in the averages, γ.
        epsilon: Constant that smooths the cluster sizes, ε.

    Attributes:
        embedding: An `nn.Embedding`; its `weight`, (K, D), is the codebook. It gets no gradient.
        cluster_size: Buffer, (K,): the averaged counts N, zeros at the start.
        cluster_sum: Buffer, (K, D): the averaged sums m, a copy of the codebook at the start.
    """

    def __init__(self, num_embeddings, embedding_dim, commitment_cost, decay=0.99, epsilon=1e-5):
        super().__init__(num_embeddings, embedding_dim, commitment_cost)
        self.decay = decay
        self.epsilon = epsilon

        # TODO averages: turn off the codebook's gradient, and register both buffers.
        ### BEGIN SOLUTION
        self.embedding.weight.requires_grad_(False)
        self.register_buffer("cluster_size", torch.zeros(num_embeddings))
        self.register_buffer("cluster_sum", self.embedding.weight.clone())
        ### END SOLUTION

    def forward(self, inputs):
        """Quantize, then update the codebook in training mode.

        Args:
            inputs: The encoder's output z, (N, D, H, W).

        Returns:
            The tuple (loss, quantized, perplexity, encodings) as in `VectorQuantizer`, but the
            loss is only β times the commitment loss.
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
        """Update the averages and the codebook with one batch.

        Args:
            flat: The vector at each position, (N·H·W, D).
            encodings: The code vector that each position picked, one-hot, (N·H·W, K).
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
# Two convolutions of stride 2 halve the sides of the image twice: 32 × 32 pixels become 8 × 8
# positions. Each position represents about 4 × 4 pixels of the image. A **residual block** (He et
# al. 2016) then adds a correction to its input: it computes `x + f(x)`. With f near 0 the block
# changes nothing, so deep stacks of blocks remain trainable. The decoder has the same steps in
# reverse order.
#
# The layers of the encoder, with h for `num_hiddens`:
#
# | output size for an image (3, 32, 32) | layer |
# | --- | --- |
# | (h/2, 16, 16) | convolution 4 × 4, stride 2, padding 1; ReLU |
# | (h, 8, 8) | convolution 4 × 4, stride 2, padding 1; ReLU |
# | (h, 8, 8) | convolution 3 × 3, padding 1; then the residual stack |
#
# In a residual block, f has these layers: ReLU, convolution 3 × 3 to `num_residual_hiddens`
# channels, ReLU, convolution 1 × 1 to `num_hiddens` channels. The convolutions have no biases.
#
# <details><summary>Hints</summary>
#
# - Create a new object for every block. `[block] * 3` contains the same block three times, with one
#   set of weights. PyTorch finds layers in an `nn.ModuleList` or `nn.Sequential`, but not in a
#   plain list.
# - If the first layer of f is `nn.ReLU(inplace=True)`, it overwrites x before x is added. You would
#   then compute relu(x) + f(x).
# - A transposed convolution 4 × 4 with stride 2 and padding 1 doubles the size exactly.
# - Pixel values are in [−½, ½] here: do not use an activation after the decoder's last layer.
# </details>


# %% solution="networks"
class Residual(nn.Module):
    """A residual block, which adds a correction to its input: x + f(x).

    Args:
        in_channels: Channels of x; the same as `num_hiddens`, so that the two can be added.
        num_hiddens: Channels of f(x).
        num_residual_hiddens: Channels inside f.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_hiddens):
        super().__init__()
        # TODO residual layers: create the layers of f.
        ### BEGIN SOLUTION
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(in_channels, num_residual_hiddens, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(num_residual_hiddens, num_hiddens, 1, bias=False),
        )
        ### END SOLUTION

    def forward(self, x):
        """Compute x + f(x); input and output are (N, num_hiddens, H, W)."""
        # TODO residual forward
        ### BEGIN SOLUTION
        return x + self.layers(x)
        ### END SOLUTION


class ResidualStack(nn.Module):
    """Several residual blocks, then one ReLU.

    Args:
        in_channels: Channels of the input; the same as `num_hiddens`.
        num_hiddens: Channels of the output.
        num_residual_layers: Number of blocks; each has its own weights.
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
        """Apply the blocks and the ReLU; input and output are (N, num_hiddens, H, W)."""
        # TODO residual stack forward
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


class Encoder(nn.Module):
    """The map from images (N, in_channels, H, W) to features (N, num_hiddens, H/4, W/4).

    Args:
        in_channels: Channels of the image, 3 for colour.
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks.
        num_residual_hiddens: Channels inside the blocks.
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
        """Map images to features; H and W must be multiples of 4."""
        # TODO encoder forward
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


class Decoder(nn.Module):
    """The map from code vectors (N, in_channels, H/4, W/4) to colour images (N, 3, H, W).

    Args:
        in_channels: Size of a code vector, D.
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks.
        num_residual_hiddens: Channels inside the blocks.
    """

    def __init__(self, in_channels, num_hiddens, num_residual_layers, num_residual_hiddens):
        super().__init__()
        # TODO decoder layers: convolution 3 × 3, residual stack, then double the size twice.
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
        """Map code vectors to images; the target values are in [−½, ½]."""
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
# The encoder outputs h channels, but a code vector has D numbers. One 1 × 1 convolution maps h
# channels to D. Here it is part of `self.encoder`, so `self.encoder(x)` is the z that is quantized.


# %% solution="my_model"
class Model(nn.Module):
    """A VQ-VAE for colour images.

    Args:
        num_hiddens: Channels of the features, h.
        num_residual_layers: Number of residual blocks in the encoder, and also in the decoder.
        num_residual_hiddens: Channels inside the blocks.
        num_embeddings: Number of code vectors, K.
        embedding_dim: Size of a code vector, D.
        commitment_cost: Weight of the commitment loss, β.
        decay: 0 for a codebook that is trained by gradients; above 0 for a codebook that is
            updated by moving averages with this decay.

    Attributes:
        encoder: An `Encoder`, then a 1 × 1 convolution; it maps images (N, 3, H, W) to z,
            (N, D, H/4, W/4).
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
        # TODO model: create self.encoder, self.vq_vae and self.decoder.
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
            The tuple (loss, x_recon, perplexity): the quantizer's loss, a scalar; the
            reconstructions, (N, 3, H, W); the quantizer's perplexity, a scalar.
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
# Choose the sizes and an optimizer. The sizes of the original assignment are made for 15,000
# updates on CIFAR-10. The small sizes train in seconds on a CPU. Keep the commitment term in this
# model; you will remove it in the experiment below.
#
# | | original, CIFAR-10 | small |
# | --- | --- | --- |
# | `num_hiddens`, `num_residual_layers`, `num_residual_hiddens` | 128, 2, 32 | 32, 2, 16 |
# | `num_embeddings`, `embedding_dim` | 512, 64 | 64, 4 |
# | `commitment_cost` | 0.25 | 0.25 |
# | `decay` | 0, or 0.99 | 0, or 0.8 |
# | `batch_size`, learning rate of Adam | 256, 1e-3 | 32, 2e-3 |
# | `n_epochs` | 77, which are about 15,000 updates | 8; at most 15 in your submission |
#
# The training of a large codebook can fail at the start. We trained 512 vectors of size 64 with
# moving averages, from a uniform initialization. In the end, all positions picked the same vector
# (perplexity 1). If this happens to you, initialize the codebook with outputs of the untrained
# encoder: encode some images, copy 512 of the resulting vectors into the codebook and into
# `cluster_sum`, and set `cluster_size` to 1.

# %% solution="settings"
seed_everything(0)

# TODO settings: choose the values.
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

# TODO optimizer: create an Adam optimizer for the model's parameters.
### BEGIN SOLUTION
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
### END SOLUTION

# %% run="summary"
model_summary(model.encoder, (3, 32, 32))
model_summary(model.decoder, (embedding_dim, 8, 8))
codebook_size = num_embeddings * embedding_dim
# Encoder and decoder separately: the quantizer between them has no layers to list.
print(f"{count_parameters(model):,} trainable parameters; codebook: {codebook_size:,} numbers.")
print("This assignment has no limit on parameters.")


# %% setup="train_step"
def train_step(model, optimizer, x, variance):
    """Update the parameters once.

    Args:
        model: A model that returns (loss, x_recon, perplexity).
        optimizer: An optimizer of the model's parameters.
        x: Images in [−½, ½], (N, 3, H, W).
        variance: The variance of the data; a number, or (N, 1, 1, 1).

    Returns:
        The tuple (loss, x_recon): the total loss, a scalar, and the reconstructions that it was
        computed from, (N, 3, H, W).
    """
    vq_loss, x_recon, _ = model(x)
    loss = torch.mean((x_recon - x) ** 2 / variance) + vq_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss, x_recon


# %% [markdown]
# The loop below trains the model. After each epoch it also encodes images that are not in the
# training set. It records how many code vectors they use, and the standard deviation of the
# encoder's outputs.
#
# - **Good**: the reconstruction loss falls below {{below}} (with the small sizes after 3 to 5
#   epochs), the perplexity increases during most of the training, and the standard deviation of the
#   encoder's outputs stays about the same.
# - **Bad**: the reconstruction loss is near 1. The decoder then outputs the mean colour for every
#   input. If the perplexity is also near 1, you know the reason: all positions pick the same code
#   vector.


# %% run="train"
def fit(model, optimizer):
    """Train a model, and measure it after each epoch.

    Args:
        model: A `Model`.
        optimizer: An optimizer of the model's parameters.

    Returns:
        A dict of three lists, with one number per epoch: "reconstruction loss" in training,
        "perplexity" on test images, and "size of z", the standard deviation of z on test images.
    """
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
    threshold=0.15,  # {{below}}
    title="Reconstruction loss",
    y_label="squared error / variance",
)

# %% [markdown]
# This check tests the model that you have just trained. For your grade, your model is trained again
# from scratch, with your settings, on the grader's own patches. The grader computes the
# reconstruction loss and the perplexity itself, from your codebook and your decoder.

# %% test="training"
check("training")

# %% [markdown]
# ## Experiment: with and without the commitment loss
#
# Now you compare four models of the same sizes. The codebook is either trained by gradients or
# updated by moving averages. Each version is trained with the commitment loss and without it (β =
# 0).
#
# A moving average covers about the last 1/(1 − γ) batches. With γ = 0.99 and the thousands of
# updates of the original assignment, this is a short time. For a few hundred updates, use γ = 0.8.
#
# In the first epoch, the codebooks with moving averages are unstable. The reason is their
# initialization: the sums start with the first codebook, but the sizes start with 0. A code vector
# that no position has picked yet therefore becomes very large, and it needs some time to come back.

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
    """Plot one curve for each model."""
    return plot_losses({name: curves[what] for name, curves in history.items()}, **options)


compare("reconstruction loss", title="Reconstruction loss in training", y_label="error / variance")

# %% run="experiment_perplexity"
compare("perplexity", title="Perplexity on 500 test patches", y_label="code vectors in use")

# %% [markdown]
# ### The range of the encoder's outputs
#
# This is the most important figure of the experiment. Its vertical axis is logarithmic.

# %% run="experiment_range"
compare(
    "size of z",
    title="Standard deviation of the encoder's outputs",
    y_label="standard deviation of z",
    log=True,
)

# %% run="experiment_table"
outputs, encodings = {}, {}
table = [f"{'':30}{'loss':>8}{'perplexity':>12}{'largest |z|':>14}{'largest |e|':>14}"]
for name, one in models.items():
    with torch.no_grad():
        outputs[name] = one.encoder(x_test)
        _, _, _, encodings[name] = one.vq_vae(outputs[name])
        error = F.mse_loss(one(x_test)[1], x_test).item() / variance
    used = codebook_perplexity(encodings[name].argmax(1), num_embeddings)
    reach, size = outputs[name].abs().max(), one.vq_vae.embedding.weight.abs().max()
    table.append(f"{name:30}{error:8.3f}{used:12.1f}{reach:14.3g}{size:14.3g}")
print("\n".join(table))
print("\nloss: squared error on test patches, divided by the variance of the training data")

# %% [markdown]
# ### The codebook, projected
#
# A principal component analysis projects the code vectors and the encoder's outputs onto a plane.
# The outputs are drawn behind the code vectors. With the commitment loss, the outputs are close to
# the code vectors in use.

# %% run="codebook"
name = "with commitment"
plot_codebook(
    model.vq_vae.embedding.weight,
    encodings[name],
    outputs=outputs[name],
    title="Codebook with commitment,",
)

# %% [markdown]
# Without the commitment loss, look at the numbers on the axes. The whole codebook appears as one
# point, and the outputs are far away from it.

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
    title="Codebook updated by moving averages,",
)

# %% [markdown]
# ### Reconstructions
#
# These patches come from a part of the photographs that was not used in training. They are sorted
# from much detail to little detail. Each reconstruction is computed from 8 × 8 indices, whole
# numbers below K (`num_embeddings`). That is $64 \log_2 K$ bits: 384 bits for K = 64, instead of
# the 24,576 bits of the patch. A good reconstruction keeps the large shapes and their colours, and
# loses the fine texture. A patch of one colour is typical of a perplexity near 1.
#
# **What this means as a KL.** A VQ-VAE is also a VAE. Its approximate posterior has probability 1
# for one grid of indices. As the prior, take the uniform distribution over all grids, as the paper
# does in training (van den Oord et al. 2017, section 3.1). For a grid of H · W positions, the KL is
# then $\log 1 - \log K^{-HW} = H \cdot W \cdot \log K$. It is the same number for every image,
# whatever the weights are: 266 nats or 384 bits for 8 × 8 positions and K = 64. So it has no
# gradient, and the loss does not contain it. It is the number of bits that store the grid. A prior
# that knows which grids are frequent needs fewer bits: it is learned after the training, by a
# second model.

# %% run="reconstructions"
by_detail = x_test.std(dim=(2, 3)).mean(1).argsort(descending=True)
chosen = by_detail[:800:80]
rows = {"original": x_test[chosen] + 0.5}
with torch.no_grad():
    for name, one in models.items():
        rows[name] = (one(x_test[chosen])[1] + 0.5).clamp(0, 1)
plot_reconstructions(rows, title="Test patches, reconstructed by four VQ-VAEs")

# %% [markdown]
# ## In your own words ({{answers}} points, graded by a person)
#
# **Question 1.** How does the vector quantizer make a *discrete* latent representation? State how
# an image is represented, and how many different representations are possible for a 32 × 32 image
# and K = 64.

# %% [markdown] answer="discrete_latents" points=5
# **Rubric**
#
# - 2 points: the vector at each position is replaced by its nearest code vector (smallest distance,
#   argmin), from one finite codebook that all positions and images share.
# - 2 points: an image is therefore a grid of indices, or of one-hot vectors; the decoder gets
#   nothing else.
# - 1 point: there are 8 × 8 positions, hence 64⁶⁴ = 2³⁸⁴ different grids.
#
# **A model answer.** The encoder outputs a vector at each of 8 × 8 positions. The quantizer
# computes its distance to all K code vectors and replaces it by the nearest one. Only the *index*
# of that code vector remains of the encoder's output. The image is now a grid of 64 whole numbers
# from 0 to 63. The decoder gets the code vectors with these indices and nothing else. There are
# 64⁶⁴, or 2³⁸⁴, such grids.

# %% [markdown]
# **Question 2.** What is the purpose of `num_hiddens`, `num_residual_hiddens` and
# `num_residual_layers`? For each of them, state what becomes larger, better or slower when you
# double it.

# %% [markdown] answer="hyperparameters" points=5
# **Rubric**
#
# - 2 points: `num_hiddens` is the number of channels of the features between the layers of encoder
#   and decoder (their width). Most convolutions have it on both sides, so their parameters and time
#   grow with its square.
# - 1 point: `num_residual_hiddens` is the width inside a residual block (its bottleneck). It limits
#   what one correction f(x) can express. Parameters and time grow in proportion to it.
# - 1 point: `num_residual_layers` is the number of blocks (the depth). More blocks mean more
#   corrections one after the other, and a larger region of the image that each position depends on.
#   Parameters and time grow in proportion to it.
# - 1 point: none of the three changes the latent grid or the codebook. The amount of information
#   that passes is set by K and the number of positions.
#
# **A model answer.** `num_hiddens` is the number of features that encoder and decoder have at each
# position. If it is doubled, they can describe more, but they have about four times the parameters,
# because most convolutions go from `num_hiddens` to `num_hiddens` channels. `num_residual_hiddens`
# is the smaller width inside each residual block, and limits what one correction can express.
# `num_residual_layers` is the number of corrections, one after the other. Each of them adds a 3 × 3
# convolution, so that a position depends on one more ring of its neighbours. The cost of both grows
# in proportion. All three make encoder and decoder more capable. But the information that passes
# between them stays the same: 8 × 8 indices into a codebook of K vectors.

# %% [markdown]
# **Question 3.** How does training change if you remove the commitment loss? Describe it from your
# own figures: reconstruction loss, perplexity, and the two codebook projections.

# %% [markdown] answer="commitment_effect" points=5
# **Rubric**
#
# - 2 points: the reconstruction loss is clearly higher and varies strongly, or stays near 1.
# - 2 points: the perplexity stays at a few code vectors or falls back to 1. With the commitment
#   loss it increases.
# - 1 point: in the projection, the outputs are many orders of magnitude away from the codebook,
#   instead of around it. (With moving averages the codebook follows the outputs and the effect is
#   much weaker. If the answer describes this codebook, it must say so for full marks.)
#
# **A model answer.** With the commitment loss, the reconstruction loss falls steadily to 0.08, and
# the perplexity on test patches increases to about 13. Without it, the loss first falls to about
# 0.5 and then varies between 0.6 and 1. Almost all positions pick one or two code vectors. In the
# projection with commitment, the outputs are around the code vectors. Without commitment, the
# codebook appears as one point, because the outputs are millions of times larger. With moving
# averages, the codebook follows the outputs, so the perplexity stays high. But both have become
# about nine times larger, and the loss is almost twice as high.

# %% [markdown]
# **Question 4.** *Why* does this happen? Compare the range of the encoder's outputs in both cases.
# State which terms of the loss can move the encoder, and in which direction.

# %% [markdown] answer="commitment_reason" points=5
# **Rubric**
#
# - 1 point: states the ranges: a few units with the commitment loss; without it, growth by orders
#   of magnitude within the first epochs.
# - 2 points: the codebook loss does not move the encoder (stop-gradient). Without commitment, only
#   the decoder's gradient moves it, copied by the straight-through rule. This gradient does not
#   depend on the distance between z and its code vector. Nothing pulls z back, so its size drifts.
# - 2 points: states the consequence: the codebook cannot follow, because each step of the optimizer
#   is small. All z are far from all code vectors. The choice then depends almost only on the
#   direction of z. Most vectors are never the nearest, and they get no gradient either.
#
# **A model answer.** With β = 0.25 the outputs stay within a few units of 0, and so do the code
# vectors. Without the commitment loss, their standard deviation exceeds 100,000 in the first epoch
# and 10⁸ soon after. The codebook loss cannot stop this, because it moves only the code vectors.
# Only the gradient of the reconstruction loss moves the encoder. This gradient is copied from $e_k$
# to z. It is the direction in which the decoder's input should change. But as long as z has the
# same nearest code vector, a step in this direction changes nothing, and so the same step is
# repeated in every update. Nothing pulls z back. The code vectors move by small steps and cannot
# follow. Seen from so far away, all code vectors are at almost the same distance. A few of them are
# therefore picked at all positions; the others are never used and never moved.

# %% [markdown]
# ## What next
#
# - van den Oord, Vinyals & Kavukcuoglu 2017, *Neural discrete representation learning*,
#   arXiv:1711.00937, section 3.3. New images need a second model, which learns which grids of
#   indices are frequent. The paper uses a PixelCNN.
# - Razavi, van den Oord & Vinyals 2019, *Generating diverse high-fidelity images with VQ-VAE-2*,
#   arXiv:1906.00446. It has two or more grids of different size, one for the large shapes and one
#   for the details.
# - Mentzer et al. 2024, *Finite scalar quantization: VQ-VAE made simple*, arXiv:2309.15505. It
#   rounds each number of z to a few levels. There is no codebook, so no code vector can remain
#   unused for lack of a gradient, and no commitment loss is needed.
# - Rombach et al. 2022, *High-resolution image synthesis with latent diffusion models*,
#   arXiv:2112.10752. Its diffusion model works on the codes of an autoencoder. The paper compares
#   an autoencoder with a small KL term and one with a vector quantizer.
