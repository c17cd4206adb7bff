-- Answers the store's time, which never steps back, and the server's.
local server = server_us()
return {math.max(server, tonumber(redis.call('HGET', store, 'clock') or '0')), server}
