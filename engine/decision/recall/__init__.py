<<<<<<< HEAD
"""What a session remembers: history, labels and provenance, each a fold over events; never a scan."""
=======
"""What a session remembers: history, labels and provenance, folded from its events."""
>>>>>>> next
