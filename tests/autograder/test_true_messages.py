"""A mistake gets no second message that is untrue."""

import pytest

from autograder.grading.batch import Entry
from autograder.quality.corpus import load_corpus, make, write

FASHION, ELBO = "07_fashion_vae", "08_elbo_vae"


@pytest.mark.parametrize(
    ("assignment", "name", "untrue"),
    [
        (FASHION, "decoder_rounds", {"divided_by_maximum"}),
        (FASHION, "decoder_softmax_of_channel", {"relu_on_code"}),
        (FASHION, "r_loss_accumulates", {"recon_clamped"}),
        (ELBO, "decoder_rounds", {"divided_by_maximum", "no_activation"}),
        (ELBO, "sample_of_zeros", {"pixels_inverted"}),
        (ELBO, "sample_without_return", {"carries_gradient"}),
    ],
)
def test_no_untrue_mistake_is_named(tmp_path, judges, assignment, name, untrue):
    notebook = make(assignment, load_corpus(assignment)[name])
    entry = Entry(name, write(notebook, tmp_path, name, assignment), train=False)
    (result,) = judges.grade_all([entry], assignment)
    named = {check.mistake for check in result.checks}
    assert any(check.outcome == "failed" for check in result.checks)
    assert not named & untrue
