-- Begins every script: the data must be those that the guard knew when it opened the store.
-- KEYS[1]: the store, a hash; every other key begins with its name and a colon (one hash tag, one slot).
-- ARGV[1]: the incarnation that the guard knows.
local store = KEYS[1]
if redis.call('HGET', store, 'incarnation') ~= ARGV[1] then return 'lost' end

local function key(kind, name) return store .. ':' .. kind .. ':' .. name end

-- Numbers join texts as %.14g: too short for the microseconds of an epoch.
local function digits(number) return string.format('%.0f', number) end

local function server_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
