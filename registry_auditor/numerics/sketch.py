"""Sketches: a direction as 1,024 signs, from which its angle to another is known well enough to look closer or not."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import shake_256

import numpy as np
from jaxtyping import Float, Int16, UInt64
from scipy.special import bdtrc, ndtri  # type: ignore[import-untyped, unused-ignore]

FloatArray = np.ndarray
Words = np.ndarray

BITS = 1024
WORDS = BITS // 64
HALF = WORDS // 2
AT_ONCE = 512
"""Vectors that are multiplied together: 2 MB of products."""
COLUMNS = 2**13
"""Sketches that are looked at together: what is computed for them stays in the processor's cache."""


def sketch(vectors: Float[FloatArray, "n d"]) -> UInt64[Words, "n 16"]:
    """On which side of 1,024 fixed random hyperplanes each vector lies.

    Two vectors at an angle θ differ in each sign with probability θ/π, whatever else is true of them: the number
    of signs that differ is binomial. A vector and its negative have opposite sketches. The hyperplanes depend on
    the dimension alone and stay the same for ever, so that sketches may be kept.
    Memory: 4 KiB for each dimension, kept for the four dimensions used last.
    Source: Charikar 2002, doi:10.1145/509907.509965, section 3.
    """
    normals = _normals(vectors.shape[1])
    signs = np.empty((len(vectors), BITS // 8), np.uint8)
    for first in range(0, len(vectors), AT_ONCE):
        with np.errstate(invalid="ignore", over="ignore"):  # what is no number is on the negative side of everything
            products = vectors[first : first + AT_ONCE] @ normals
        signs[first : first + AT_ONCE] = np.packbits(products > 0, axis=1)
    words: np.ndarray = signs.view("<u8")
    return words


@lru_cache(maxsize=4)
def _normals(d: int) -> Float[FloatArray, "d 1024"]:
    # A random stream of NumPy may change with a release; this one is defined by FIPS 202.
    digest = shake_256(f"registry-auditor/sketch-1/{d}".encode()).digest(2 * d * BITS)
    quantiles = ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
    normals: np.ndarray = quantiles[np.frombuffer(digest, "<u2")].reshape(d, BITS)
    return normals


def leans(columns: UInt64[Words, "16 n"], query: UInt64[Words, " 16"]) -> Int16[Words, " n"]:
    """How far the number of differing signs is from the 512 of a right angle, 0..512, for each column.

    The sketches stand in columns, so that one instruction works on many of them. Takes about 30 ns for each.
    """
    lean: np.ndarray = np.abs(_differing(columns, query) - BITS // 2)
    return lean


def clear_leans(columns: UInt64[Words, "16 n"], query: UInt64[Words, " 16"], *, least: int) -> Int16[Words, " n"]:
    """The same where the first half of the signs leans `least` or more, of 256; 0 elsewhere, or the same.

    With the `least_lean` of a half for `least`, what counts is there, in little more than half of the time.
    """
    differing = _differing(columns[:HALF], query[:HALF])
    clear = np.flatnonzero(np.abs(differing - 32 * HALF) >= least)
    if len(clear) > columns.shape[1] // 8:  # then it is quicker to go on with all of them
        every: np.ndarray = np.abs(differing + _differing(columns[HALF:], query[HALF:]) - BITS // 2)
        return every
    mixed = columns[HALF:].take(clear, axis=1) ^ query[HALF:, None]
    rest = np.bitwise_count(mixed).sum(axis=0, dtype=np.int16)
    result = np.zeros_like(differing)
    result[clear] = np.abs(differing[clear] + rest - BITS // 2)
    return result


def _differing(columns: UInt64[Words, "words n"], query: UInt64[Words, " words"]) -> Int16[Words, " n"]:
    n = columns.shape[1]
    differing = np.zeros(n, np.int16)
    mixed, counts = np.empty(min(COLUMNS, n), np.uint64), np.empty(min(COLUMNS, n), np.uint8)
    for first in range(0, n, COLUMNS):
        part = differing[first : first + COLUMNS]
        for column, word in zip(columns, query, strict=True):
            both = np.bitwise_xor(column[first : first + COLUMNS], word, out=mixed[: len(part)])
            np.add(part, np.bitwise_count(both, out=counts[: len(part)]), out=part)
    return differing


def overlooked(cosine: float, lean: int, *, bits: int = BITS) -> float:
    """The chance that a vector with this |cos| to the query leans less than `lean` in so many signs."""
    chance = math.acos(min(abs(cosine), 1.0)) / math.pi
    return float(bdtrc(bits // 2 - lean, bits, chance))


@lru_cache(maxsize=256)
def least_lean(cosine: float, chance: float, *, bits: int = BITS) -> int:
    """The largest lean below which a vector with at least this |cos| stays with no more than this chance."""
    chances = [overlooked(cosine, lean, bits=bits) for lean in range(bits // 2 + 1)]
    return int(np.searchsorted(chances, chance, side="right")) - 1
