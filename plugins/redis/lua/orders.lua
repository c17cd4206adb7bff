-- Answers the orders with an id above ARGV[2], in order.
return redis.call('ZRANGEBYSCORE', orders, '(' .. ARGV[2], '+inf')
