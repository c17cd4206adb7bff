"""One engine per module: `build(tools)` returns what decides a call.  Each is written as its own manual does it."""
