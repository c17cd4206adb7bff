"""Many recorded runs looked over: which fit what is looked for, and what they add up to."""
