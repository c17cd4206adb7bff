-- Says that a guard attends no more.  ARGV[2]: holder.
if redis.call('HDEL', attendants, ARGV[2]) == 1 then tell() end
return {}
