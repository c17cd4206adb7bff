-- Answers who was heard of in the last ARGV[2] µs: holder, last order obeyed, bodies in flight, µs of silence.
local found, now, made = redis.call('HGETALL', attendants), server_us(), {}
for place = 1, #found, 2 do
  local known = cmsgpack.unpack(found[place + 1])
  local silent = math.max(0, now - known[3])
  if silent <= tonumber(ARGV[2]) then
    made[#made + 1] = found[place]
    made[#made + 1] = known[1]
    made[#made + 1] = known[2]
    made[#made + 1] = silent
  end
end
return made
