-- {name}: members of the index, or of the set of reservations, of that name.
local name = cmsgpack.unpack(ARGV[1])[1]
return redis.call('ZCARD', 'css/index/' .. name) + redis.call('SCARD', 'css/set/' .. name)
