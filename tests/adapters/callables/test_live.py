"""What a policy is written from: the parameters that are decided when the function is called."""

import functools

import pytest

from ringfence.adapters.callables.live import live_tools


class Desk:
    """A desk."""

    def send(self, to: str, times: int = 1) -> str:
        """Send a message."""
        return to

    def __call__(self, what: str) -> str:
        return what


def test_of_a_method_a_partial_and_an_object_the_decided_parameters_are_told() -> None:
    bound, half, unbound, called = live_tools(
        [Desk().send, functools.partial(Desk().send, to="bob"), Desk.send, Desk()]
    )
    for one in (bound, half, unbound):
        assert (one.name, one.description) == ("send", "Send a message.")
        assert one.schema is not None
        assert list(one.schema["properties"]) == ["to", "times"]
        assert one.schema["required"] == ["to"]
    assert called.schema is not None
    assert (called.name, called.schema["properties"]) == ("Desk", {"what": {"type": "string"}})


def test_what_cannot_be_guarded_is_told_at_once() -> None:
    with pytest.raises(TypeError, match="no function"):
        live_tools([Desk])
    with pytest.raises(TypeError, match=r"\*args"):
        live_tools(lambda *args: args)
