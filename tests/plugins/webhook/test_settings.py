"""`[backends.webhook]`: what is refused before anything is opened."""

import json
from typing import Any

import pytest

from ringfence._assembly import assemble, load_plan
from ringfence.engine.seams.errors import SettingsError
from ringfence.engine.seams.settings import Settings
from ringfence.plugins.approvals_webhook.backend import WebhookBackend
from ringfence.plugins.approvals_webhook.payloads import asked
from ringfence.plugins.approvals_webhook.settings import WebhookSettings
from ringfence.testing import question
from tests.docs.pages import ROOT, blocks, table
from tests.guards import BLOG
from tests.plugins.webhook.people import CALLBACK_SECRET, SECRET

URL = "https://approvals.example/hooks/a-secret-path"


def backend(**values: Any) -> WebhookBackend:
    """Return the backend that these settings make."""
    section = {"url": URL, "secret": SECRET, **values}
    given = {name: value for name, value in section.items() if value is not None}
    settings = Settings.of(
        {"store": "memory:", "approvals": {"default": "webhook"}, "backends": {"webhook": given}}
    )
    guard = assemble(load_plan(BLOG), settings)
    made = guard.opening.extensions._backends["webhook"]
    assert isinstance(made, WebhookBackend)
    return made


LISTEN = {"listen": "127.0.0.1:8787", "callback_secret": CALLBACK_SECRET}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"url": "http://localhost:9/x"},
        {"url": "http://127.9.9.9/x"},
        {"url": "http://[::1]:8080/x"},
        {"url": "http://approvals.example/x", "insecure": True},
        {"secret": "a text of twenty-four bytes", "previous_secret": SECRET},
        LISTEN,
        {**LISTEN, "listen": "[::1]:0"},
        {**LISTEN, "listen": "0.0.0.0:8787", "tls_in_front": True},
        {**LISTEN, "listen": "0.0.0.0:8787", "certificate": "c.pem", "key": "k.pem"},
    ],
    ids=str,
)
def test_these_settings_are_accepted(values: dict[str, Any]) -> None:
    assert backend(**values).settings.receiver.startswith("http")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"url": None}, "is missing"),
        ({"secret": None}, "is missing"),
        ({"url": "approvals.example"}, "must be a URL that begins with `https://`"),
        ({"url": "ftp://approvals.example/"}, "must be a URL that begins with `https://`"),
        ({"url": "https://:x@["}, "must be a URL"),
        ({"url": "https://approvals.example:99999/"}, "must be a URL"),
        ({"url": "https://me:pw@approvals.example/"}, "must hold no name or password"),
        ({"url": "https://approvals.example/#x"}, "must have no `#`"),
        ({"url": "http://approvals.example/"}, "`backends.webhook.url`: must begin with `https://` (or"),
        ({"url": "http://127.0.0.1.nip.example/"}, "`backends.webhook.url`: must begin with `https://` (or"),
        ({"url": "http://localhost.example/"}, "`backends.webhook.url`: must begin with `https://` (or"),
        ({"secret": "tooshort"}, "`backends.webhook.secret`: is not acceptable"),
        ({"previous_secret": "whsec_tooshort"}, "24 bytes or more"),
        ({"try_s": 0}, "must be greater than 0"),
        ({"within_s": "nan"}, "must be a finite number"),
        ({"listen": "127.0.0.1:8787"}, "`listen` and `callback_secret` go together"),
        ({"callback_secret": CALLBACK_SECRET}, "`listen` and `callback_secret` go together"),
        ({"previous_callback_secret": CALLBACK_SECRET}, "stands in for no `callback_secret`"),
        ({**LISTEN, "listen": "8787"}, "must be `HOST:PORT`"),
        ({**LISTEN, "listen": "localhost:http"}, "must be `HOST:PORT`"),
        ({**LISTEN, "listen": "localhost:70000"}, "must be `HOST:PORT`"),
        ({**LISTEN, "listen": "0.0.0.0:8787"}, "`backends.webhook.listen`: is open to other machines"),
        ({**LISTEN, "listen": "[::]:8787"}, "`backends.webhook.listen`: is open to other machines"),
        ({**LISTEN, "certificate": "c.pem"}, "`certificate` and `key` go together"),
        ({**LISTEN, "callback_secret": SECRET}, "`callback_secret` must differ from `secret`"),
        ({**LISTEN, "previous_callback_secret": SECRET}, "`callback_secret` must differ from `secret`"),
        ({"insecur": True}, "did you mean `insecure`?"),
    ],
    ids=str,
)
def test_these_settings_are_refused_in_words_that_quote_no_secret(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        backend(**values)
    words = refused.value.diagnostics()
    assert said in words
    for secret in (SECRET, CALLBACK_SECRET, "tooshort", "a-secret-path"):
        assert secret not in words


def test_the_page_names_every_key_and_every_field_of_a_question() -> None:
    page = ROOT / "docs" / "webhooks.md"
    keys = [key for cell, *_ in table(page, "Settings") for key in cell.split(", ")]
    assert sorted(keys) == sorted(WebhookSettings.model_fields)
    (shown,) = [block.code for block in blocks(page) if block.kind == "json"]
    assert json.loads(shown)["data"].keys() == json.loads(asked(question()).body)["data"].keys()


def test_relative_paths_start_at_the_settings_folder_and_nothing_printed_holds_a_secret() -> None:
    made = backend(**LISTEN, certificate="c.pem", key="k.pem", ca="ca.pem")
    assert made.settings.ca is not None and made.settings.ca.is_absolute()
    for secret in (SECRET, CALLBACK_SECRET, "a-secret-path"):
        assert secret not in repr(made.settings)
