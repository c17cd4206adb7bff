-- Answers the id of the last order, 0 if there is none.
return {latest()}
