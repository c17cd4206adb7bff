"""Examples that run: each is tested as it stands."""
