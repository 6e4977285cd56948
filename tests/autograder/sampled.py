"""Which corpus submissions the tests grade."""

from autograder.quality.corpus import load_corpus

# Of the corpora that take longest, the tests grade every third submission and those that a test
# names. `vaelab verify --quick` grades all.
SAMPLED = ("06_vq_vae", "07_fashion_vae", "09_gaussian_vae", "10_loss_study")
NAMED = ("by_hand_in_the_usual_style", "only_the_nearest_code")


def corpus_names(assignment: str) -> list[str]:
    """Return the names of the corpus submissions that the tests grade."""
    names = list(load_corpus(assignment))
    if assignment not in SAMPLED:
        return names
    return [name for n, name in enumerate(names) if n % 3 == 0 or name in NAMED]
