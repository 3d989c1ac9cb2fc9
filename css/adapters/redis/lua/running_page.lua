-- {platform, after, limit} -> {last number looked at, 1 if there are more, then of each ongoing conference:
-- number, moid, platformmoid, endtime, confname, begintime}
local args = cmsgpack.unpack(ARGV[1])
local first = args[2] == '' and '-' or '(' .. args[2]
local found = redis.call('ZRANGEBYLEX', 'css/index/running/' .. args[1], first, '+', 'LIMIT', 0, args[3] + 1)
local more = #found > args[3]
if more then
  found[#found] = nil
end
local page = {found[#found] or args[2], more and 1 or 0}
for _, e164 in ipairs(found) do
  local record = redis.call('HMGET', 'confex/' .. e164, 'state', 'moid', 'platformmoid', 'endtime')
  if record[1] == 'ongoing' then
    local conf = redis.call('HMGET', 'conf/' .. e164, 'confname', 'begintime')
    for _, value in ipairs({e164, record[2], record[3], record[4], conf[1], conf[2]}) do
      page[#page + 1] = value or ''
    end
  end
end
return page
