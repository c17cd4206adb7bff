"""A server with everything that the protocol's conformance suite asks for."""
