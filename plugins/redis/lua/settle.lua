-- Stamps all that the calls of a run still hold; what a lease has given up on is kept already.
-- ARGV[5]: run.
local begins = ARGV[5] .. '/'
for _, id in ipairs(redis.call('ZRANGE', run_of(begins), 0, -1)) do
  if string.sub(id, 1, #begins) == begins then
    local made = reservation(id)
    if made and not made.stamped and stands(made) and (made.lapse < 0 or made.lapse > now) then
      stamp(id, made)
    else
      forget_held(id)
    end
  end
end
return {}
