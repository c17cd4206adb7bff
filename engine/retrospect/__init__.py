"""Looking back: replay and verification; nothing here can execute a tool."""
