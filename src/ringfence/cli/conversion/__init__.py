"""From the YAML of an agent framework's tool table to a policy: read, ask, write."""
