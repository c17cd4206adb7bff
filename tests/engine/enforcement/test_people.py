"""Names that a reader would take for one another are one person's."""

import pytest

from ringfence.engine.enforcement.people import face, same


@pytest.mark.parametrize(
    "other",
    [
        "Dana", "DANA", " dana", "dana ", "dana\u00a0", "dana\n", "d\u200bana",
        "\u202edana", "da\u00adna", "dana\u0000", "d\u00e1na",
        "\uff44\uff41\uff4e\uff41", "\U0001d41d\U0001d41a\U0001d427\U0001d41a",
        "d\u0430na", "\u0501\u0430n\u0430",
        "d\u03b1na", "d\u0251na", "da\u0301na", "dana\ufe0f", "dan\u24d0",
    ],
)  # fmt: skip
def test_another_spelling_is_not_another_person(other: str) -> None:
    assert same("dana", other)


@pytest.mark.parametrize("other", ["erik", "dana2", "dan", "dana.b", "dana@acme.example", "ana d"])
def test_other_names_are_other_people(other: str) -> None:
    assert not same("dana", other)


def test_white_space_inside_a_name_is_one_space() -> None:
    assert same("Dana  B", "dana\u2003b") and not same("Dana B", "danab")


@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\u202e\u200d", "\n\t", "\u0301"])
def test_a_name_that_cannot_be_seen_is_none(nothing: str) -> None:
    assert face(nothing) == ""


def test_a_face_is_its_own_face() -> None:
    for name in ("Dana", "d\u0430na", "Stra\u00dfe", "\u0130rem", "\ufb01n", "J\u00f3se"):
        assert face(face(name)) == face(name)
