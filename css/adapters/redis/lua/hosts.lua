-- -> {{ip, room, {pid, time in ms, …}, load, 1 if drained, losses}, …}: hosts with known processes, and drained ones
local found, by_ip = {}, {}

local function host(ip)
  if not by_ip[ip] then
    by_ip[ip] = {}
    local room = redis.call('HGET', 'css/mcu/' .. ip, 'roommoid') or ''
    local load, drained = redis.call('SCARD', 'css/load/' .. ip), redis.call('SISMEMBER', 'css/drained', ip)
    local losses = redis.call('HGET', 'css/losses/' .. ip, 'count') or '0'
    found[#found + 1] = {ip, room, by_ip[ip], load, drained, losses}
  end
  return by_ip[ip]
end

for _, ip in ipairs(redis.call('SMEMBERS', 'css/drained')) do
  host(ip)
end
local processes = redis.call('ZRANGE', 'css/processes', 0, -1, 'WITHSCORES')
for i = 1, #processes, 2 do
  local ip, pid = string.match(processes[i], '^(%S+) (.*)$')
  local pids = host(ip)
  pids[#pids + 1] = pid
  pids[#pids + 1] = processes[i + 1]
end
return found
