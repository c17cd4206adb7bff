-- Reserves all charges, or none: answers the charges without room, as PLACE, µs until there is (-1: unknown).
-- ARGV[5]: id; ARGV[6]: lease (-1: none); ARGV[7]: how many charges, and for each of them: window, period (-1:
-- none), limit, amount (-1: never fits), how many members (-1: counted by its amount), members.
local id, lease = ARGV[5], tonumber(ARGV[6])
local known = reservation(id)
if known then
  if stands(known) then return {} end
  give_back(id, known)
end

-- How many units a refusal looks at to say when there is room; beyond, it says when all that is there has left.
local LOOKS = 200

-- Calls `leaves` with every entry, soonest first, until it says that enough have left; µs until then, -1: cannot
-- be told.
local function wait_for(window, leaves)
  local from = 0
  while from < LOOKS do
    local page = redis.call('ZRANGE', window .. ':s', from, from + 99, 'WITHSCORES')
    for place = 1, #page, 2 do
      if leaves(page[place]) then return tonumber(page[place + 1]) - now end
    end
    if #page < 200 then return -1 end
    from = from + 100
  end
  if tonumber(redis.call('HGET', window, 'held') or '0') > 0 then return -1 end
  return tonumber(redis.call('ZREVRANGE', window .. ':s', 0, 0, 'WITHSCORES')[2]) - now
end

-- µs until `over` units have left.
local function frees(window, over)
  return wait_for(window, function(entry)
    over = over - tonumber(string.match(entry, '^%d+'))
    return over <= 0
  end)
end

-- µs until `over` members that are not wanted have left, each with its last touch.
local function members_free(window, wanted, over)
  local touches = {}
  return wait_for(window, function(entry)
    local number, rest = string.match(entry, '^(%d+) (.*)$')
    local member = string.sub(rest, tonumber(number) + 1)
    if wanted[member] then return false end
    touches[member] = (touches[member] or tonumber(redis.call('HGET', window, 'm' .. member))) - 1
    if touches[member] == 0 then over = over - 1 end
    return over <= 0
  end)
end

local units, by_window, refused, at = {}, {}, {}, 8
for place = 0, tonumber(ARGV[7]) - 1 do
  local window, period = key('w', ARGV[at]), tonumber(ARGV[at + 1])
  local limit, amount, count = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  at = at + 5
  local of_members = count >= 0
  local unit = by_window[window]
  if not unit then
    slide(window, of_members)
    unit = {window = window, period = period, amount = 0, wanted = {}, count = 0, taken = taken(window), fresh = 0}
    unit.members = of_members and {} or nil
    by_window[window] = unit
    units[#units + 1] = unit
  end
  local free
  if amount < 0 then
    free = -1
  elseif of_members then
    for _ = 1, count do
      local member = ARGV[at]
      at = at + 1
      if not unit.wanted[member] then
        unit.wanted[member] = true
        unit.members[#unit.members + 1] = member
        if redis.call('HEXISTS', window, 'm' .. member) == 0 then unit.fresh = unit.fresh + 1 end
      end
    end
    if unit.fresh > limit - unit.taken then
      local fits = #unit.members <= limit
      free = fits and members_free(window, unit.wanted, unit.fresh - (limit - unit.taken)) or -1
    end
  else
    -- Never a sum above 2^53, which would be rounded: the limit is at most that.
    local room = limit - unit.taken
    local fits = amount <= limit - unit.amount
    if amount > room - unit.amount then
      free = fits and frees(window, unit.amount + amount - room) or -1
    end
    unit.amount = unit.amount + amount
  end
  if free then
    refused[#refused + 1] = place
    refused[#refused + 1] = free
  end
end
if #refused > 0 or #units == 0 then return refused end

local made = {stamped = false, lapse = -1, last = 0, units = {}}
if lease >= 0 then made.lapse = mark + lease end
for _, unit in ipairs(units) do
  local kept = {window = unit.window, period = unit.period, amount = unit.amount, members = unit.members}
  local leaves = lapses(made, kept)
  take(id, kept, leaves)
  made.units[#made.units + 1] = kept
  if leaves < 0 then made.last = -1 elseif made.last >= 0 and leaves > made.last then made.last = leaves end
end
keep_reservation(id, made)
redis.call('ZADD', run_of(id), made.lapse < 0 and 'inf' or digits(made.lapse), id)
keep_run(run_of(id))
return {}
