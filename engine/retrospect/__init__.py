"""Looking back at recorded runs: read, verified, decided again, played back; nothing here runs a tool."""
