"""The metrics, compared with closed forms: a linear Gaussian model has a known likelihood."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from vae_utils import (
    VaeView,
    active_units,
    codebook_perplexity,
    collect_codes,
    collect_posterior,
    evaluate_elbo,
    importance_weighted_bound,
    kl_per_dimension,
    linear_probe_accuracy,
    make_loader,
    reconstruction_error,
)

D, Z, SIGMA_X = 5, 2, 0.7


@pytest.fixture
def images():
    return torch.rand(40, D, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def weights():
    return torch.randn(Z, D, generator=torch.Generator().manual_seed(1))


def linear_gaussian(weights, exact=True):
    """Return a VAE p(x|z) = N(zW, σ²) with its exact posterior, or with the prior instead.

    Its evidence is N(0, WᵀW + σ²I). The exact posterior is diagonal only if the rows of W are
    orthogonal. So the rows are made orthogonal.
    """
    weights = torch.linalg.qr(weights.T).Q.T * torch.tensor([[1.5], [0.8]])
    precision = 1 + (weights**2).sum(dim=1) / SIGMA_X**2

    def encode(x):
        mu = x @ weights.T / SIGMA_X**2 / precision
        if not exact:
            return torch.zeros_like(mu), torch.zeros_like(mu)
        return mu, -precision.log().expand_as(mu)

    evidence = MultivariateNormal(torch.zeros(D), weights.T @ weights + SIGMA_X**2 * torch.eye(D))
    view = VaeView(encode, lambda z: z @ weights, likelihood="gaussian", sigma_x=SIGMA_X)
    return view, evidence


def batches(images):
    return make_loader(images, batch_size=16, shuffle=False)


def test_with_the_exact_posterior_the_bound_equals_the_evidence(images, weights):
    view, evidence = linear_gaussian(weights)
    log_px = float(evidence.log_prob(images).mean())

    report = evaluate_elbo(view, batches(images), samples=4000)
    assert report.elbo == pytest.approx(log_px, abs=0.05)
    # Every importance weight is then p(x): the bound has no noise for any k.
    assert importance_weighted_bound(view, batches(images), k=3) == pytest.approx(log_px, abs=1e-4)


def test_more_importance_samples_approach_the_evidence(images, weights):
    view, evidence = linear_gaussian(weights, exact=False)
    log_px = float(evidence.log_prob(images).mean())

    elbo = evaluate_elbo(view, batches(images), samples=500).elbo
    bounds = [importance_weighted_bound(view, batches(images), k=k) for k in (5, 50, 5000)]
    assert elbo < bounds[0] < bounds[1] < log_px + 0.02
    assert bounds[2] == pytest.approx(log_px, abs=0.02)


def test_with_one_sample_the_bound_is_the_elbo_on_average(images, weights):
    view, _ = linear_gaussian(weights, exact=False)
    many = images.repeat(500, 1)
    elbo = evaluate_elbo(view, batches(images), samples=1000).elbo
    assert importance_weighted_bound(view, batches(many), k=1) == pytest.approx(elbo, abs=0.1)


def test_all_chunks_of_samples_are_used(images, weights, monkeypatch):
    view, evidence = linear_gaussian(weights)
    monkeypatch.setattr("vae_utils.metrics.bounds.ROWS_AT_ONCE", 32)
    bound = importance_weighted_bound(view, batches(images), k=7)
    assert bound == pytest.approx(float(evidence.log_prob(images).mean()), abs=1e-4)


def test_bernoulli_terms_equal_those_of_torchs_distributions(images):
    mu, sigma = torch.tensor([0.5, -1.0]), torch.tensor([0.3, 2.0])
    probabilities = torch.linspace(0.1, 0.9, D)
    view = VaeView(
        lambda x: (mu.expand(len(x), 2), (2 * sigma.log()).expand(len(x), 2)),
        lambda z: probabilities.expand(len(z), D),
    )
    report = evaluate_elbo(view, batches(images))

    log_px = Bernoulli(probabilities, validate_args=False).log_prob(images).sum(dim=1).mean()
    kl = torch.distributions.kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum()
    assert report.reconstruction == pytest.approx(-float(log_px), rel=1e-5)
    assert report.kl == pytest.approx(float(kl), rel=1e-5)
    assert report.elbo == pytest.approx(float(log_px - kl), rel=1e-5)
    assert report.images == 40


@pytest.mark.parametrize(
    ("scale", "value"), [("logvar", 2 * math.log(3)), ("logsigma", math.log(3)), ("sigma", 3.0)]
)
def test_every_scale_is_converted_to_sigma(images, scale, value):
    view = VaeView(lambda x: (x[:, :1], torch.full((len(x), 1), value)), abs, scale=scale)
    torch.testing.assert_close(
        collect_posterior(view, batches(images)).sigma, torch.full((40, 1), 3.0)
    )


def test_bits_per_dimension_corrects_the_scaling_of_a_gaussian():
    # The decoder ignores its input: uniform grey levels need 8 bits per pixel. A very wide Gaussian
    # around ½ is nearly constant over [0, 1], with density 1/(σ√2π).
    images = torch.rand(10, D)
    view = VaeView(
        lambda x: (torch.zeros(len(x), 1), torch.zeros(len(x), 1)),
        lambda z: torch.full((len(z), D), 0.5),
        likelihood="gaussian",
        sigma_x=100.0,
    )
    report = evaluate_elbo(view, batches(images))
    flat = math.log2(100 * math.sqrt(2 * math.pi))
    assert report.bits_per_dimension == pytest.approx(8 + flat, abs=1e-4)


def test_condition_reaches_both_parts():
    x, y = torch.rand(6, 4), torch.arange(6)
    seen = []

    def encode(x, c):
        seen.append(c)
        return torch.zeros(len(x), 1), torch.zeros(len(x), 1)

    def decode(z, c):
        seen.append(c)
        return torch.full((len(z), 4), 0.5)

    view = VaeView(encode, decode, condition=lambda x, y: y[:, None].float())
    loader = make_loader((x, y), shuffle=False)
    evaluate_elbo(view, loader)
    importance_weighted_bound(view, loader, k=2)
    assert [c.flatten().tolist() for c in seen] == [
        *[[0, 1, 2, 3, 4, 5]] * 3,
        [0, 1, 2, 3, 4, 5] * 2,
    ]


def test_the_seed_decides_and_torchs_random_state_does_not_change(images, weights):
    view, _ = linear_gaussian(weights, exact=False)
    state = torch.get_rng_state()
    reports = [evaluate_elbo(view, batches(images), seed=seed) for seed in (0, 0, 1)]
    assert reports[0] == reports[1] != reports[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_images_with_nan_are_counted_and_skipped(images, capsys):
    def decode(z):
        x_hat = torch.full((len(z), D), 0.5)
        x_hat[0] = math.nan  # one in each batch of 16: 3 of 40
        return x_hat

    def encode(x):
        return torch.zeros(len(x), 1), torch.zeros(len(x), 1)

    view = VaeView(encode, decode)
    report = evaluate_elbo(view, batches(images))
    assert (report.images, report.nan_images) == (37, 3)
    assert report.elbo == pytest.approx(-D * math.log(2), rel=1e-5)
    assert str(report).endswith("over 37 images; 3 more resulted in NaN")

    assert importance_weighted_bound(view, batches(images), k=1) == pytest.approx(report.elbo)
    assert capsys.readouterr().out == "3 of 40 images resulted in NaN and are skipped.\n"


def test_a_diverged_model_is_an_error(images):
    view = VaeView(lambda x: (x[:, :1] * math.nan, x[:, :1]), lambda z: z.expand(-1, D))
    with pytest.raises(ValueError, match="All 40 images resulted in NaN"):
        evaluate_elbo(view, batches(images))


def test_logits_instead_of_probabilities(images):
    view = VaeView(lambda x: (x[:, :1], x[:, :1]), lambda z: torch.full((len(z), D), -3.0))
    with pytest.raises(ValueError, match="decode returned values from -3 to -3"):
        evaluate_elbo(view, batches(images))


def test_outputs_with_wrong_shapes_are_refused(images):
    with pytest.raises(ValueError, match="encode must return a pair"):
        evaluate_elbo(VaeView(lambda x: x, abs), batches(images))
    with pytest.raises(ValueError, match="must return as many values"):
        evaluate_elbo(VaeView(lambda x: (x, x), lambda z: z[:, :2]), batches(images))
    with pytest.raises(ValueError, match="scale must be one of"):
        VaeView(abs, abs, scale="std")
    with pytest.raises(ValueError, match="no batch"):
        evaluate_elbo(VaeView(abs, abs), [])


class Noisy(nn.Module):
    """A model whose output differs between training and evaluation mode."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.9)

    def forward(self, x):
        return self.drop(x), "another output"


def test_reconstruction_error_in_evaluation_mode(images):
    model = Noisy()
    assert reconstruction_error(model, batches(images)) == 0.0
    assert model.training
    assert model.drop.training


def test_reconstruction_error_is_the_mean_over_all_pixels(images):
    uneven = make_loader(images, batch_size=39)  # a last batch of one must not count for more
    error = reconstruction_error(lambda x: torch.zeros_like(x), uneven)
    assert error == pytest.approx(float(images.square().mean()), rel=1e-6)


def test_codes_are_flat_in_order_and_taken_from_tuples(images):
    codes, labels = collect_codes(lambda x: (x.reshape(-1, 1, D), None), batches(images))
    torch.testing.assert_close(codes, images)
    assert labels.tolist() == [-1] * 40


def test_active_units_are_those_whose_means_vary():
    mu = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    mu = mu * torch.tensor([1.0, 0.05, 0.2]) + torch.tensor([0.0, 7.0, 0.0])
    assert active_units(mu).tolist() == [True, False, True]  # variances 1, 0.0025, 0.04


def test_kl_of_each_dimension():
    mu, sigma = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert kl_per_dimension(mu, sigma).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="sigma must be positive"):
        kl_per_dimension(mu, -sigma)


def test_linear_probe_of_separate_and_of_mixed_classes():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    apart = torch.randn(400, 2, generator=random) + 20 * labels[:, None]
    mixed = torch.randn(400, 2, generator=random)

    assert linear_probe_accuracy(apart, labels) == 1.0
    assert linear_probe_accuracy(mixed, labels) < 0.4
    wrong = (labels[200:] + 1) % 4
    assert linear_probe_accuracy(apart[:200], labels[:200], apart[200:], wrong) == 0.0


def test_codes_with_nan_are_counted():
    codes = torch.zeros(5, 2)
    codes[1, 0] = math.nan
    with pytest.raises(ValueError, match="1 of 5 rows of codes"):
        linear_probe_accuracy(codes, torch.zeros(5))
    with pytest.raises(ValueError, match="1 of 5 rows of mu"):
        active_units(codes)


def test_perplexity_from_one_vector_to_all():
    assert codebook_perplexity(torch.zeros(2, 3, dtype=torch.int64), 512) == 1.0
    assert codebook_perplexity(torch.arange(512), 512) == pytest.approx(512)
    assert codebook_perplexity(torch.tensor([0, 0, 0, 1]), 2) == pytest.approx(
        2 ** (0.75 * math.log2(4 / 3) + 0.25 * 2)
    )
    with pytest.raises(ValueError, match="a codebook of 3 vectors has indices 0 to 2"):
        codebook_perplexity(torch.tensor([3]), 3)
