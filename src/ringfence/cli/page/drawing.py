"""The page as HTML: one template, one sheet of styles, nothing from elsewhere and nothing that runs.

Jinja2 escapes every value, for attributes as well; values stand only in texts and in quoted attributes, and
of these only numbers and names of ours.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ringfence.cli.page.model import Page
from ringfence.cli.page.texts import visible

MARK = '<!doctype html>\n<html lang="en" data-made-by="ringfence show">'
"""How every page begins: a file that begins otherwise is none of ours."""


def drawn(page: Page) -> str:
    """Return the page as one document."""
    style = _text("page.css")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    # SECURITY: should a value ever stand where it must not, the browser still loads and runs nothing.
    allowed = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,  # SECURITY: a value that is not escaped is markup
        undefined=StrictUndefined,
        finalize=_fit,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return f"{MARK}\n{template.render(page=page, style=Markup(style), allowed=allowed).strip()}\n"


def _fit(value: object) -> object:
    """Return what a template prints, fit to be read; what is markup already is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return (files("ringfence.cli.page") / name).read_text("utf-8")
