"""What a session remembers: history, labels and provenance, each a fold over events; never a scan."""
