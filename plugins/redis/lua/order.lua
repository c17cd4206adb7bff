-- Stores an order and answers its id.  ARGV[2]: the order.
-- Ids are times, so that they rise even over data that was lost.
local id = math.max(latest() + 1, server_us())
redis.call('HSET', store, 'order', digits(id))
redis.call('ZADD', orders, digits(id), digits(id) .. ':' .. ARGV[2])
tell()
return {id}
