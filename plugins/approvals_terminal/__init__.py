"""Questions asked and answered in the terminal."""
