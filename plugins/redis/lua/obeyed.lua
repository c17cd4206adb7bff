-- Acknowledges every order up to one.  ARGV[2]: holder; ARGV[3]: order; ARGV[4]: bodies in flight.
local known = attendant(ARGV[2])
local obeyed = tonumber(ARGV[3])
if known and known[1] > obeyed then obeyed = known[1] end
keep(ARGV[2], obeyed, tonumber(ARGV[4]))
tell()
return {}
