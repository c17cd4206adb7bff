"""A recorded run as a tape: what an agent asks for now is matched with what it asked for then."""
