-- Acknowledges every order up to one; an older one takes nothing back.
-- ARGV[2]: holder; ARGV[3]: order; ARGV[4]: bodies in flight.
local known = attendant(ARGV[2])
local obeyed, in_flight = tonumber(ARGV[3]), tonumber(ARGV[4])
if known and known[1] > obeyed then obeyed, in_flight = known[1], known[2] end
keep(ARGV[2], obeyed, in_flight)
tell()
return {}
