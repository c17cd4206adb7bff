"""The pure ground floor: a decision from a plan, a state, a call and facts."""
