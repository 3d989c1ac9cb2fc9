-- {e164, request key}
local args = cmsgpack.unpack(ARGV[1])
return {loaded(args[1], args[2])}
