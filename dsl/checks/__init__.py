"""What must hold of a policy beyond its shape: one check a file."""
