"""What opens a service is not in the record, wherever in the parameters of a request it stands."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from ringfence.engine.binding.credentials import without_keys
from ringfence.engine.decision.events import MARK

KEY = "k-3c9e"


class Service(BaseModel):
    name: str
    hush: SecretStr


@dataclass
class Settings:
    extra_headers: Any
    temperature: float = 0.5


@pytest.mark.parametrize(
    "given",
    [
        {"openai_api_key": KEY},
        {"azure_ad_token": KEY.encode()},
        {"anything": SecretStr(KEY), "more": [SecretBytes(KEY.encode())]},
        {"service": Service(name="x", hush=SecretStr(KEY))},
        Settings({"X-Gateway": KEY}),
        Settings([["X-Gateway", KEY]]),
        {"body": {"auth": {"client-secret": {"value": KEY}}}},
        {"url": f"https://me:{KEY}@mcp.example/"},
        [{"nested": ({"Session-Token": KEY},)}],
    ],
)
def test_a_key_is_not_shown(given: object) -> None:
    assert KEY not in repr(without_keys(given))


def test_all_else_is_shown_as_it_is() -> None:
    said = {
        "temperature": 0.5,
        "max_tokens": 9,
        "api_key": None,
        "stop": ["a://b"],
        "tokens": [1],
        "cookies": False,
    }
    assert without_keys(said) == said
    assert without_keys({"url": "https://me:pass@x.example/y"}) == {"url": f"https://me:{MARK}@x.example/y"}
