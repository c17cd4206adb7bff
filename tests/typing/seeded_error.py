"""One mistake on purpose: a type checker that does not report it does not see the linked folders."""

from ringfence.dsl.source import Source, Span

Source("support.fence", "language 1").place(Span("0", 1))
