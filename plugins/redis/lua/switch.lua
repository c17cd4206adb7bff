-- The kill switch.  Times are the server's, in microseconds.
--
--   :orders      sorted by id: `ID:WORD:ORDER`
--   :attendants  hash: holder -> the last order obeyed, bodies in flight, when it was heard of last
--   :news        a short stream: something happened
local orders, attendants, news = store .. ':orders', store .. ':attendants', store .. ':news'

local function latest() return tonumber(redis.call('HGET', store, 'order') or '0') end

local function attendant(holder)
  local found = redis.call('HGET', attendants, holder)
  return found and cmsgpack.unpack(found)
end

local function keep(holder, obeyed, in_flight)
  redis.call('HSET', attendants, holder, cmsgpack.pack({obeyed, in_flight, server_us()}))
end

local function tell() redis.call('XADD', news, 'MAXLEN', '~', 100, '*', 'n', '') end
