-- {ip, pid, seq, time or -1, 1 if it says that its process has restarted, patience in ms} -> 0 if it is an older list
-- Kept of a process: '<when the last list was accepted, ms> <its seq> <the seq its run began with> <its time or -1>'
local ip, pid, seq, time, restarted, patience = unpack(cmsgpack.unpack(ARGV[1]))
local key, now = 'css/listseq/' .. ip, now_ms()

local function begun_with()
  local known = redis.call('HGET', key, pid)
  local at, last, first, last_time = string.match(known or '', '^(%d+) (%d+) (%d+) (%-?%d+)$')
  if not at or now - tonumber(at) >= patience then
    return seq
  end
  first, last_time = tonumber(first), tonumber(last_time)
  if seq >= tonumber(last) then
    return first
  end
  local is_later = time > last_time
  if time < 0 or last_time < 0 or time == last_time then
    is_later = seq <= first
  end
  return restarted == 1 and is_later and seq or nil
end

local first = begun_with()
if not first then
  return 0
end
redis.call('HSET', key, pid, string.format('%.0f %.0f %.0f %.0f', now, seq, first, time))
redis.call('EXPIRE', key, 86400)
return 1
