"""langchain-tests' standard classes on tools of every kind; the plugin puts guarded copies in their place."""

from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import BaseModel, Field


class Sum(BaseModel):
    """Two numbers."""

    left: int = Field(description="The first.")
    right: int = Field(default=1, description="The second.")


@tool(args_schema=Sum)
def add(left: int, right: int) -> str:
    """Add two numbers."""
    return str(left + right)


@tool(args_schema=Sum, response_format="content_and_artifact")
def add_with_artifact(left: int, right: int) -> tuple[str, int]:
    """Add two numbers, and keep the sum as a number."""
    return str(left + right), left + right


async def _add_async(left: int, right: int) -> str:
    return str(left + right)


add_async = StructuredTool.from_function(
    coroutine=_add_async, name="add_async", description="Add two numbers.", args_schema=Sum
)


class Adder(BaseTool):
    """A tool class with settings of its own."""

    name: str = "adder"
    description: str = "Add two numbers."
    args_schema: type[BaseModel] = Sum
    base: int = 0

    def _run(self, left: int, right: int = 1) -> str:
        return str(self.base + left + right)


class AsyncAdder(Adder):
    """A tool class with a coroutine of its own."""

    name: str = "async_adder"

    async def _arun(self, left: int, right: int = 1) -> str:
        return str(self.base + left + right)


class _Example:
    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"left": 2, "right": 3}


class _OfClass(_Example):
    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"base": 10}


class _OnlyAsync:
    """The framework has no synchronous body to call, guarded or not."""

    @pytest.mark.xfail(raises=NotImplementedError, strict=True, reason="it has coroutines alone")
    def test_invoke_matches_output_schema(self, tool: BaseTool) -> None:
        super().test_invoke_matches_output_schema(tool)  # type: ignore[misc]

    @pytest.mark.xfail(raises=NotImplementedError, strict=True, reason="it has coroutines alone")
    def test_invoke_no_tool_call(self, tool: BaseTool) -> None:
        super().test_invoke_no_tool_call(tool)  # type: ignore[misc]


class TestFunctionUnit(_Example, ToolsUnitTests):
    tool_constructor = add


class TestFunctionIntegration(_Example, ToolsIntegrationTests):
    tool_constructor = add


class TestArtifactUnit(_Example, ToolsUnitTests):
    tool_constructor = add_with_artifact


class TestArtifactIntegration(_Example, ToolsIntegrationTests):
    tool_constructor = add_with_artifact


class TestAsyncUnit(_Example, ToolsUnitTests):
    tool_constructor = add_async


class TestAsyncIntegration(_OnlyAsync, _Example, ToolsIntegrationTests):
    tool_constructor = add_async


class TestClassUnit(_OfClass, ToolsUnitTests):
    tool_constructor = Adder


class TestClassIntegration(_OfClass, ToolsIntegrationTests):
    tool_constructor = Adder


class TestAsyncClassUnit(_OfClass, ToolsUnitTests):
    tool_constructor = AsyncAdder


class TestAsyncClassIntegration(_OfClass, ToolsIntegrationTests):
    tool_constructor = AsyncAdder
