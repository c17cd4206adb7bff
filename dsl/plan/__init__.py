"""The compiled policy: immutable, printable, with a digest of its canonical form.

`core` is the whole meaning as plain JSON values (rules and budgets only, every sugar rewritten); the
digest is taken of it and `explain` prints it.  Beside it stand the closures that decide, made from the
same core.  Two policies with one digest decide alike.
"""

from ringfence.dsl.plan.clauses import (
    AuditRule,
    Budget,
    Clause,
    Happening,
    Isolated,
    LabelClause,
    Limit,
    Obligations,
    Parameter,
    Reason,
    Redaction,
    Verdict,
    Watch,
)
from ringfence.dsl.plan.scope import (
    Amount,
    Canonicaliser,
    Condition,
    Json,
    Origin,
    Question,
    Recalled,
    Scope,
    Truth,
    UnansweredError,
    UnfitError,
)
from ringfence.dsl.plan.whole import (
    ISOLATE_EXECUTOR,
    AgentPlan,
    ApproverPlan,
    FunctionPlan,
    GuaranteePlan,
    IsolatePlan,
    Plan,
    Responses,
    TextFile,
    ToolPlan,
)

__all__ = [
    "ISOLATE_EXECUTOR",
    "AgentPlan",
    "Amount",
    "ApproverPlan",
    "AuditRule",
    "Budget",
    "Canonicaliser",
    "Clause",
    "Condition",
    "FunctionPlan",
    "GuaranteePlan",
    "Happening",
    "IsolatePlan",
    "Isolated",
    "Json",
    "LabelClause",
    "Limit",
    "Obligations",
    "Origin",
    "Parameter",
    "Plan",
    "Question",
    "Reason",
    "Recalled",
    "Redaction",
    "Responses",
    "Scope",
    "TextFile",
    "ToolPlan",
    "Truth",
    "UnansweredError",
    "UnfitError",
    "Verdict",
    "Watch",
]
