"""From a live tool set to a first policy: what can be known is written, what could do harm stays closed."""
