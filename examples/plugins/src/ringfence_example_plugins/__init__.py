"""Two plugins for Ringfence to copy from: a JSON-lines audit sink and approvals in a chat room."""
