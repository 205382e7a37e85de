"""Chance, by hashing only: the same seed and salt always give the same number, on every machine."""

from hashlib import blake2b


def uniform(seed: str, salt: str) -> float:
    """A number in [0, 1), uniform over seeds and independent between salts; 53 bits of BLAKE2b(seed, salt)."""
    digest = blake2b(f"{seed}\x00{salt}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def pick(at: float, weights: list[float]) -> int:
    """The index whose share of the cumulated weights holds `at` in [0, 1). Weights are positive, any scale."""
    left = at * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1
