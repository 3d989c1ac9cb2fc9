-- {platform, lane, {e164, mark, e164, mark, …}}
local args = cmsgpack.unpack(ARGV[1])
local place, done = args[1] .. '/' .. args[2], args[3]
for i = 1, #done, 2 do
  clear_entry(place, done[i], done[i + 1])
end
close_lane(args[1], args[2])
return 1
