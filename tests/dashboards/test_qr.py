"""QR codes against another encoder: the package `qrcode` 8 drew the same squares, bit for bit."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET

import pytest

from dashboards import qr

ADDRESS = "otpauth://totp/lockwatch?secret="
SMALL = """
111111100011101111111
100000101110101000001
101110100011101011101
101110101100101011101
101110100100101011101
100000101001001000001
111111101010101111111
000000000100000000000
111110111001010101010
001011010111100111001
010110110100111001010
101111001001110101100
001101101100101000011
000000001000101010101
111111101001000001010
100000100000000001110
101110101101000100001
101110101001111110000
101110101010101001000
100000101011111011100
111111101010100001010
"""
# Version, bytes of text, mask, and the first digits of the SHA-256 of the rows.
DRAWN = (
    (1, 17, 0, "b57717e4d0977548"),
    (2, 32, 1, "9262f4debfc52af0"),
    (3, 53, 2, "09427b3d5cf934d7"),
    (4, 78, 3, "6e0d605a017d5195"),
    (5, 106, 4, "f7584574f122828d"),
    (6, 134, 5, "0be41c1ae7213836"),
    (7, 154, 6, "a7c192bd04edfaa2"),
    (8, 192, 7, "7aed54bdb2c94f90"),
    (9, 230, 0, "8b3ecde92ebbf267"),
    (10, 271, 1, "6496dd88abf479f4"),
    (11, 321, 2, "1c34d5403ea6d9e0"),
    (12, 367, 3, "25d084b0f0c8e53e"),
    (13, 425, 4, "eb19da193407de87"),
    (14, 458, 5, "74ac8cf938186c53"),
    (15, 520, 6, "0702ea33a56d6275"),
    (16, 586, 7, "e8cd039f75e0b4c1"),
    (17, 644, 0, "252671dba9c21e72"),
    (18, 718, 1, "a1abc3d4c24aa2f0"),
    (19, 792, 2, "1a163b829b6d2fcb"),
    (20, 858, 3, "8c3bf919ed3e97d9"),
)


def rows(drawn: qr.Modules) -> str:
    return "\n".join("".join(str(int(v)) for v in row) for row in drawn)


def test_a_small_code_is_drawn_module_by_module() -> None:
    assert rows(qr.modules("lockwatch", mask=2)) == SMALL.strip()


@pytest.mark.parametrize(("version", "length", "mask", "digest"), DRAWN)
def test_every_version_and_mask_is_as_another_encoder_draws_it(
    version: int, length: int, mask: int, digest: str
) -> None:
    drawn = qr.modules((ADDRESS * 40)[:length], mask)

    assert len(drawn) == 4 * version + 17
    assert hashlib.sha256(rows(drawn).encode()).hexdigest()[:16] == digest


def test_the_mask_that_is_chosen_is_the_easiest_to_read() -> None:
    chosen = qr.modules(ADDRESS)

    penalties = [qr.penalty(qr.modules(ADDRESS, mask)) for mask in range(8)]
    assert qr.penalty(chosen) == min(penalties) < max(penalties)


def test_a_text_that_no_version_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 858 bytes expected, got 859"):
        qr.modules("x" * 859)


def test_the_drawing_has_a_title_and_a_quiet_zone() -> None:
    source = qr.svg(ADDRESS, "A code")

    drawing = ET.fromstring(source)
    assert drawing.attrib["role"] == "img" and drawing[0].text == "A code"
    size = int(drawing.attrib["viewBox"].split()[2])
    corners = [(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1", source)]
    assert len(corners) == sum(map(sum, qr.modules(ADDRESS)))
    assert min(min(c) for c in corners) == 4 and max(max(c) for c in corners) == size - 5
