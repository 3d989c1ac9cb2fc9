-- {ip, pid, {e164, epoch, e164, epoch, …}} -> numbers whose record does not say just that, be it of another type
local args = cmsgpack.unpack(ARGV[1])
local ip, pid, entries, found = args[1], args[2], args[3], {}
for i = 1, #entries, 2 do
  local r = redis.pcall('HMGET', 'confex/' .. entries[i], 'state', 'ip', 'pid', 'epoch', 'missed')
  local same = r[1] == 'ongoing' and r[2] == ip and r[3] == pid and not r[5]
  if not same or (entries[i + 1] ~= '' and entries[i + 1] ~= r[4]) then
    found[#found + 1] = entries[i]
  end
end
return found
