-- Answers the id of the last news.
local last = redis.call('XREVRANGE', news, '+', '-', 'COUNT', 1)[1]
return {last and last[1] or '0-0'}
