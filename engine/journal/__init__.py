"""One hash chain, one bounded queue: how events reach the audit log."""
