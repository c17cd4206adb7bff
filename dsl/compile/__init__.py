"""From checked syntax to the plan: conditions become closures, sugar becomes rules and budgets."""
