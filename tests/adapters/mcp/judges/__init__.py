"""The protocol's own suite and its reference servers as judges: the same with the gateway as without it.

`make test-mcp` runs this; the packages of both are in `.node-mcp/`, from the npm registry, never committed.
"""
