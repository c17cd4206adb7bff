"""The engine: decides, enforces, records and looks back."""
