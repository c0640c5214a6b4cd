"""QR codes (ISO/IEC 18004:2015) of short texts, as SVG: bytes, level L, versions 1 to 20.

Level L corrects 7 %: enough for a screen, and 858 bytes hold any address that we show. Written
out here because the page that shows a secret must ask nobody else to draw it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest

from dashboards.charts.palette import INK

# ISO/IEC 18004 table 9, level L: check words of a block, and blocks, by version.
CHECK_WORDS = (7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28)
BLOCKS = (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8)
BYTES, LEVEL_L = 0b0100, 0b01
QUIET = 4  # modules of white around it, 9.1
MASKS: tuple[Callable[[int, int], bool], ...] = (  # table 10; i is the row, j the column
    lambda i, j: (i + j) % 2 == 0,
    lambda i, _: i % 2 == 0,
    lambda _, j: j % 3 == 0,
    lambda i, j: (i + j) % 3 == 0,
    lambda i, j: (i // 2 + j // 3) % 2 == 0,
    lambda i, j: i * j % 2 + i * j % 3 == 0,
    lambda i, j: (i * j % 2 + i * j % 3) % 2 == 0,
    lambda i, j: ((i + j) % 2 + i * j % 3) % 2 == 0,
)
FINDER_LIKE = ((1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 1))

Modules = list[list[int]]


def modules(text: str, mask: int | None = None) -> Modules:
    """The square of modules, 1 for dark, without the quiet zone; `mask` None: the best of 8."""
    data = text.encode()
    version = _version(len(data))
    fixed, is_fixed = _patterns(version)
    _place(fixed, is_fixed, _interleaved(_data_words(data, version), version))
    masks = range(len(MASKS)) if mask is None else (mask,)
    return min((_masked(fixed, is_fixed, version, m) for m in masks), key=penalty)


def svg(text: str, what: str) -> str:
    """The code as an SVG element with a title; `what` must be safe to stand in markup."""
    drawn = modules(text)
    size = len(drawn) + 2 * QUIET
    dark = "".join(
        f"M{x + QUIET} {y + QUIET}h1v1h-1z"
        for y, row in enumerate(drawn)
        for x, is_dark in enumerate(row)
        if is_dark
    )
    return (
        f'<svg class="qr" role="img" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<title>{what}</title><path fill="#fff" d="M0 0h{size}v{size}h-{size}z"/>'
        f'<path fill="{INK}" d="{dark}"/></svg>'
    )


def _version(length: int) -> int:
    for version in range(1, len(BLOCKS) + 1):
        if 8 * _capacity(version) >= 4 + _count_bits(version) + 8 * length:
            return version
    raise ValueError(f"text: at most 858 bytes expected, got {length}")


def _count_bits(version: int) -> int:
    return 8 if version < 10 else 16


def _raw_words(version: int) -> int:
    """Words of data and checks together: what the function patterns leave, in eights."""
    bits = (16 * version + 128) * version + 64
    if version >= 2:
        n = version // 7 + 2
        bits -= (25 * n - 10) * n - 55
    return (bits - 36 * (version >= 7)) // 8


def _capacity(version: int) -> int:
    return _raw_words(version) - BLOCKS[version - 1] * CHECK_WORDS[version - 1]


def _data_words(data: bytes, version: int) -> list[int]:
    bits = f"{BYTES:04b}{len(data):0{_count_bits(version)}b}" + "".join(f"{b:08b}" for b in data)
    capacity = _capacity(version)
    bits += "0" * min(4, 8 * capacity - len(bits))
    bits += "0" * (-len(bits) % 8)
    words = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    padding = (0xEC, 0x11) * capacity
    return words + list(padding[: capacity - len(words)])


def _interleaved(words: list[int], version: int) -> list[int]:
    """Blocks side by side, then their check words (7.6); the later blocks are longer by one."""
    count, checks = BLOCKS[version - 1], CHECK_WORDS[version - 1]
    short, longer = divmod(len(words), count)
    blocks, start = [], 0
    for i in range(count):
        end = start + short + (i >= count - longer)
        blocks.append(words[start:end])
        start = end
    rows = chain(
        zip_longest(*blocks), zip_longest(*(_check_words(block, checks) for block in blocks))
    )
    return [word for row in rows for word in row if word is not None]


def _times(a: int, b: int) -> int:
    """Product in GF(256) modulo x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a = a << 1 ^ 0x11D * (a >> 7)
        b >>= 1
    return product


def _check_words(block: list[int], count: int) -> list[int]:
    """Remainder of the block by the generator polynomial: Reed and Solomon's code."""
    generator, root = [1], 1
    for _ in range(count):
        generator = [
            a ^ _times(b, root) for a, b in zip([*generator, 0], [0, *generator], strict=True)
        ]
        root = _times(root, 2)
    remainder = [*block, *[0] * count]
    for i in range(len(block)):
        for k, factor in enumerate(generator):
            # The leading one of the generator cancels remainder[i], so it is read once only.
            remainder[i + k] ^= _times(factor, remainder[i]) if k else 0
    return remainder[len(block) :]


def _patterns(version: int) -> tuple[Modules, Modules]:
    """Finder, timing and alignment patterns; and which modules are no data."""
    size = 4 * version + 17
    fixed = [[0] * size for _ in range(size)]
    is_fixed = [[0] * size for _ in range(size)]

    def put(y: int, x: int, value: int) -> None:
        if 0 <= y < size and 0 <= x < size:
            fixed[y][x], is_fixed[y][x] = value, 1

    for i in range(size):
        put(6, i, 1 - i % 2)
        put(i, 6, 1 - i % 2)
    centres = _alignment(version)
    corners = {(6, 6), (6, size - 7), (size - 7, 6)}
    for y, x in ((y, x) for y in centres for x in centres if (y, x) not in corners):
        for dy, dx in _square(2):
            put(y + dy, x + dx, max(abs(dy), abs(dx)) != 1)
    for y, x in ((3, 3), (3, size - 4), (size - 4, 3)):
        for dy, dx in _square(4):
            put(y + dy, x + dx, max(abs(dy), abs(dx)) in (0, 1, 3))
    for y, x, _ in (*_format(size, 0), *_version_words(version, size)):
        put(y, x, 0)
    put(size - 8, 8, 1)
    return fixed, is_fixed


def _square(reach: int) -> Iterator[tuple[int, int]]:
    return ((y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1))


def _alignment(version: int) -> list[int]:
    """Centres of alignment patterns (annex E), evenly spaced from the far side."""
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 8 + count * 3 + 5) // (count * 4 - 4) * 2
    return [6, *(4 * version + 10 - i * step for i in range(count - 1))]


def _with_remainder(word: int, generator: int, bits: int) -> int:
    """A word followed by its BCH check bits."""
    remainder = word
    for _ in range(bits):
        remainder = remainder << 1 ^ (remainder >> bits - 1) * generator
    return word << bits | remainder


def _format(size: int, mask: int) -> Iterator[tuple[int, int, int]]:
    """Level and mask, twice (7.9): row, column and value of each module."""
    word = _with_remainder(LEVEL_L << 3 | mask, 0x537, 10) ^ 0x5412
    first = [(i + (i > 5), 8) for i in range(8)] + [(8, 7)] + [(8, 14 - i) for i in range(9, 15)]
    second = [(8, size - 1 - i) for i in range(8)] + [(size - 15 + i, 8) for i in range(8, 15)]
    for places in (first, second):
        yield from ((y, x, word >> i & 1) for i, (y, x) in enumerate(places))


def _version_words(version: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The version, twice (7.10), from version 7 on."""
    if version < 7:
        return
    word = _with_remainder(version, 0x1F25, 12)
    for i in range(18):
        near, far, bit = i // 3, size - 11 + i % 3, word >> i & 1
        yield near, far, bit
        yield far, near, bit


def _place(fixed: Modules, is_fixed: Modules, words: Iterable[int]) -> None:
    """Data from the lower right, up and down in columns of two (7.7.3)."""
    size = len(fixed)
    bits = (word >> i & 1 for word in words for i in range(7, -1, -1))
    columns = [x - (x <= 6) for x in range(size - 1, 0, -2)]
    for n, right in enumerate(columns):
        for step in range(size):
            y = step if n % 2 else size - 1 - step
            for x in (right, right - 1):
                if not is_fixed[y][x]:
                    fixed[y][x] = next(bits, 0)


def _masked(fixed: Modules, is_fixed: Modules, version: int, mask: int) -> Modules:
    size, rule = len(fixed), MASKS[mask]
    made = [
        [v ^ (not is_fixed[y][x] and rule(y, x)) for x, v in enumerate(row)]
        for y, row in enumerate(fixed)
    ]
    for y, x, bit in (*_format(size, mask), *_version_words(version, size)):
        made[y][x] = bit
    return made


def penalty(drawn: Modules) -> int:
    """How hard a square is to read (7.8.3): runs, blocks, false finders, and imbalance."""
    size = len(drawn)
    lines = [*(tuple(row) for row in drawn), *zip(*drawn, strict=True)]
    found = 0
    for line in lines:
        text = "".join(map(str, line))
        runs = (len(r) for r in text.replace("01", "0 1").replace("10", "1 0").split())
        found += sum(n - 2 for n in runs if n >= 5)
        found += 40 * sum(line[i : i + 11] in FINDER_LIKE for i in range(size - 10))
    for y in range(size - 1):
        for x in range(size - 1):
            found += 3 * (drawn[y][x] == drawn[y][x + 1] == drawn[y + 1][x] == drawn[y + 1][x + 1])
    dark = sum(map(sum, drawn))
    return found + 10 * (abs(20 * dark - 10 * size * size) // (size * size))
