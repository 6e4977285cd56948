"""The random inputs of checks: the same at each grading, and unknown to every submission.

The inputs of a check follow from a secret, the submission's bytes and the check's name. The secret
is 32 random bytes in the output folder (see `reports.output_folder`). It stays in the judge.
"""

import hashlib
import hmac

import numpy as np
import torch

SECRET_BYTES = 32
# The state of the Mersenne Twister as `torch.get_rng_state` returns it: the seed (8 bytes), three
# numbers (16 bytes), then 624 words of 32 bits, each in 8 bytes.
WORDS, WORDS_START = 624, 24


def submission_key(secret: bytes, digest: str) -> bytes:
    """Return the key of a submission's inputs, 32 bytes.

    Args:
        secret: The secret of the output folder; b"" where the inputs need not be secret.
        digest: The SHA-256 of the submission's file, in hexadecimal.
    """
    return hmac.digest(secret, digest.encode(), "sha256")


def seed_torch(key: bytes, name: str) -> None:
    """Set the whole state of PyTorch's generator from a key and the name of a check.

    `torch.manual_seed` uses 32 bits of its argument, which can be found by trying all of them. This
    uses all 624 words of the generator.

    Raises:
        RuntimeError: If this version of PyTorch stores the state of its generator otherwise.
    """
    torch.default_generator.manual_seed(
        1
    )  # the next number is computed from the words that are set below
    state = torch.get_rng_state()
    words = state.numpy()[WORDS_START : WORDS_START + 8 * WORDS].view(np.uint64)
    if words[0] != 1 or words.max() >= 1 << 32:
        raise RuntimeError(f"The generator of torch {torch.__version__} has another state.")
    digest = hashlib.shake_256(key + name.encode()).digest(4 * WORDS)
    words[:] = np.frombuffer(digest, "<u4")
    torch.set_rng_state(state)
