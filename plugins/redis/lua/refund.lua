-- Gives a reservation back; unknown or already given back: nothing happens.
-- ARGV[5]: id.
local made = reservation(ARGV[5])
if made then give_back(ARGV[5], made) end
return {}
