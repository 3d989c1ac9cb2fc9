-- {ip, …} -> {tokens booked on each}
local loads = {}
for i, ip in ipairs(cmsgpack.unpack(ARGV[1])) do
  loads[i] = redis.call('SCARD', 'css/load/' .. ip)
end
return loads
