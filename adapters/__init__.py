"""One room per framework: they translate and hold no policy logic."""
