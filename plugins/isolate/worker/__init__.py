"""The program that holds V8 isolates: a process of its own that locks itself down before it runs anything."""
