-- The windows and reservations of the ledger.  All times are microseconds, all numbers whole and at most
-- 2^53, so that doubles are exact.
--
--   :w:WINDOW    hash: `taken` (units, or different members), `held` (reservations that leave at no known
--                time), and for a window of members `mMEMBER` -> how many reservations touch it
--   :w:WINDOW:s  sorted by the moment it leaves: `AMOUNT ID`, or for members `LENGTH IDMEMBER`
--   :r:ID        a reservation: stamped, lapse (-1: no lease), last (when it leaves its last window, -1: at
--                no known time), and its windows {WINDOW, period (-1: none), amount, members or nil}
--   :h:RUN       the held reservations of a run, sorted by the moment their leases run out
--
-- ARGV[2]: now, -1 for the server's time; ARGV[3]: now, rounded up; ARGV[4]: how many milliseconds a key
-- outlives what is in it.
local now, mark, linger = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if now < 0 then
  now = server_us()
  mark = now
end
local latest = tonumber(redis.call('HGET', store, 'clock') or '0')
if now > latest then
  redis.call('HSET', store, 'clock', digits(now))
else
  now = latest
end
if mark < now then mark = now end

local function expire(name, last)
  redis.call('PEXPIRE', name, digits(math.ceil((last - now) / 1000) + linger))
end

-- Lets a window vanish some time after the last unit has left it.
local function keep_window(window)
  local stamps = window .. ':s'
  local last = redis.call('ZREVRANGE', stamps, 0, 0, 'WITHSCORES')[2]
  if tonumber(redis.call('HGET', window, 'held') or '0') > 0 then
    redis.call('PERSIST', window)
    redis.call('PERSIST', stamps)
  elseif last then
    expire(window, tonumber(last))
    expire(stamps, tonumber(last))
  else
    redis.call('DEL', window)
  end
end

local function run_of(id) return key('h', string.match(id, '^[^/]*')) end

local function keep_run(held)
  local last = redis.call('ZREVRANGE', held, 0, 0, 'WITHSCORES')[2]
  if not last then return end
  if last == 'inf' then redis.call('PERSIST', held) else expire(held, tonumber(last)) end
end

local function forget_held(id)
  local held = run_of(id)
  if redis.call('ZREM', held, id) == 1 then keep_run(held) end
end

local function reservation(id)
  local found = redis.call('GET', key('r', id))
  return found and cmsgpack.unpack(found)
end

local function keep_reservation(id, made)
  local name = key('r', id)
  redis.call('SET', name, cmsgpack.pack(made))
  if made.last >= 0 then expire(name, made.last) end
end

-- When a unit of a held reservation leaves its window if nobody stamps it; -1: at no known time.
local function lapses(made, unit)
  if made.lapse < 0 or unit.period < 0 then return -1 end
  return made.lapse + unit.period
end

-- Says whether it was dispatched and counts in a window, or may be dispatched: it left none yet.
local function stands(made)
  if made.stamped then return made.last < 0 or made.last > now end
  for _, unit in ipairs(made.units) do
    local leaves = lapses(made, unit)
    if leaves >= 0 and leaves <= now then return false end
  end
  return true
end

local function entries(id, unit)
  if not unit.members then return {digits(unit.amount) .. ' ' .. id} end
  local made = {}
  for place, member in ipairs(unit.members) do made[place] = #id .. ' ' .. id .. member end
  return made
end

-- Takes a touch of a member away, and with the last one the member.
local function untouch(window, member)
  if redis.call('HINCRBY', window, 'm' .. member, -1) > 0 then return end
  redis.call('HDEL', window, 'm' .. member)
  redis.call('HINCRBY', window, 'taken', -1)
end

-- Lets go of what left the window (what was taken at t leaves at t + period: the window is half open), and of
-- the reservations that count nowhere any more.  After a long silence those are left to vanish by themselves:
-- the server must not stand still for them.
local function slide(window, of_members)
  local stamps = window .. ':s'
  local last = redis.call('ZREVRANGE', stamps, 0, 0, 'WITHSCORES')[2]
  if not last then return end
  if tonumber(last) <= now and tonumber(redis.call('HGET', window, 'held') or '0') == 0 then
    if redis.call('ZCARD', stamps) > 100 then
      redis.call('UNLINK', window, stamps)
      return
    end
  end
  local ids
  while true do
    local leaving = redis.call('ZRANGEBYSCORE', stamps, '-inf', digits(now), 'LIMIT', 0, 100)
    if #leaving == 0 then break end
    local left, seen = 0, {}
    for _, entry in ipairs(leaving) do
      local number, rest = string.match(entry, '^(%d+) (.*)$')
      if of_members then
        untouch(window, string.sub(rest, tonumber(number) + 1))
        seen[string.sub(rest, 1, tonumber(number))] = true
      else
        left = left + tonumber(number)
        seen[rest] = true
      end
    end
    if left > 0 then redis.call('HINCRBY', window, 'taken', digits(0 - left)) end
    redis.call('ZREMRANGEBYRANK', stamps, 0, #leaving - 1)
    ids = ids or seen
  end
  if not ids then return end
  for id in pairs(ids) do
    local made = reservation(id)
    if made and made.last >= 0 and made.last <= now then
      redis.call('DEL', key('r', id))
      forget_held(id)
    end
  end
  keep_window(window)
end

local function taken(window) return tonumber(redis.call('HGET', window, 'taken') or '0') end

-- Counts a unit that is reserved.
local function take(id, unit, leaves)
  local window = unit.window
  if unit.members then
    for _, member in ipairs(unit.members) do
      if redis.call('HINCRBY', window, 'm' .. member, 1) == 1 then redis.call('HINCRBY', window, 'taken', 1) end
    end
  else
    redis.call('HINCRBY', window, 'taken', digits(unit.amount))
  end
  if leaves < 0 then redis.call('HINCRBY', window, 'held', 1) end
  for _, entry in ipairs(entries(id, unit)) do
    if leaves >= 0 then redis.call('ZADD', window .. ':s', digits(leaves), entry) end
  end
  keep_window(window)
end

-- Stops counting a reservation; what left a window before is not taken from it again.
local function give_back(id, made)
  for _, unit in ipairs(made.units) do
    local window = unit.window
    local stamped = unit.period >= 0 and (made.stamped or made.lapse >= 0)
    for place, entry in ipairs(entries(id, unit)) do
      if not stamped or redis.call('ZREM', window .. ':s', entry) == 1 then
        if unit.members then
          untouch(window, unit.members[place])
        else
          redis.call('HINCRBY', window, 'taken', digits(0 - unit.amount))
        end
      end
    end
    if not stamped then redis.call('HINCRBY', window, 'held', -1) end
    keep_window(window)
  end
  redis.call('DEL', key('r', id))
  forget_held(id)
end

-- Stamps a reservation that is held and stands: each unit leaves one period from now.
local function stamp(id, made)
  local last = 0
  for _, unit in ipairs(made.units) do
    if unit.period < 0 then
      last = -1
    else
      local leaves = mark + unit.period
      if made.lapse < 0 then redis.call('HINCRBY', unit.window, 'held', -1) end
      for _, entry in ipairs(entries(id, unit)) do
        redis.call('ZADD', unit.window .. ':s', digits(leaves), entry)
      end
      keep_window(unit.window)
      if last >= 0 and leaves > last then last = leaves end
    end
  end
  made.stamped, made.last = true, last
  keep_reservation(id, made)
  forget_held(id)
end
