-- Stores an order and answers its id; one that was stored by this word is not stored again.
-- ARGV[2]: the order; ARGV[3]: a word of its own.
local said = ':' .. ARGV[3] .. ':' .. ARGV[2]
for _, known in ipairs(redis.call('ZREVRANGE', orders, 0, 99)) do
  if string.sub(known, -#said) == said then return {tonumber(string.match(known, '^%d+'))} end
end
-- Ids are times, so that they rise even over data that was lost.
local id = math.max(latest() + 1, server_us())
redis.call('HSET', store, 'order', digits(id))
redis.call('ZADD', orders, digits(id), digits(id) .. said)
tell()
return {id}
