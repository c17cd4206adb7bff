"""What plugins and adapters meet: ports, hooks, settings, errors."""
