"""Whatever the text, loading reports and never raises; and it gives a plan exactly if there is no error."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.dsl.explain import explain
from ringfence.dsl.load import load_text

ROOT = Path(__file__).parents[3]
TEXTS = [
    (ROOT / "examples" / "blog.fence").read_text("utf-8"),
    (Path(__file__).parent / "golden" / "shop.fence").read_text("utf-8"),
]
WORDS = [text.split(" ") for text in TEXTS]
VOCABULARY = sorted({word for words in WORDS for word in words})


@st.composite
def mutated(draw: st.DrawFn) -> str:
    words = list(draw(st.sampled_from(WORDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "replace"])):
            case "drop":
                del words[at]
            case "double":
                words.insert(at, words[at])
            case "swap":
                other = draw(st.integers(0, len(words) - 1))
                words[at], words[other] = words[other], words[at]
            case _:
                words[at] = draw(st.sampled_from(VOCABULARY))
    return " ".join(words)


@settings(max_examples=300)
@given(text=mutated())
def test_a_mutated_policy_is_reported_or_loads(text: str) -> None:
    loaded = load_text(text)
    assert (loaded.plan is None) == any(report.is_error for report in loaded.diagnostics)
    places = [report.span for report in loaded.diagnostics]
    assert places == sorted(places)
    assert all(0 <= span.start <= span.end <= len(text) for span in places)
    if loaded.plan is not None:
        assert explain(loaded.plan) == explain(load_text(text).plan or loaded.plan)
