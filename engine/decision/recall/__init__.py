"""What a session remembers: history, labels and provenance, folded from its events; never a scan."""
