-- Stamps a held reservation with the moment of its dispatch; answers {1}, or {0} if it stands no more.
-- ARGV[5]: id.
local made = reservation(ARGV[5])
if not made or not stands(made) then return {0} end
if not made.stamped then stamp(ARGV[5], made) end
return {1}
