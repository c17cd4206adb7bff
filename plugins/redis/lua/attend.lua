-- Says that a guard attends.  One that comes anew has no run yet, and so has obeyed every order until now; one
-- that fell out and comes back has obeyed what it had.
-- ARGV[2]: holder; ARGV[3]: µs of silence after which one is forgotten.
local known = attendant(ARGV[2])
if known then
  keep(ARGV[2], known[1], known[2])
else
  keep(ARGV[2], latest(), 0)
  local found = redis.call('HGETALL', attendants)
  for place = 1, #found, 2 do
    local silent = server_us() - cmsgpack.unpack(found[place + 1])[3]
    if found[place] ~= ARGV[2] and silent > tonumber(ARGV[3]) then
      redis.call('HDEL', attendants, found[place])
    end
  end
end
return {}
