"""One engine per module: `build(tools)` returns what decides a call.  Each as its manual says."""
