-- {number, …} -> of each that is planned: number, type (2, 3, 4), confname, moid
local families = {'reserve/', 'template/', 'vroom/'}
local found = {}
for _, e164 in ipairs(cmsgpack.unpack(ARGV[1])) do
  for i, family in ipairs(families) do
    local key = family .. e164
    if redis.call('TYPE', key)['ok'] == 'hash' then
      local values = redis.call('HMGET', key, 'confname', 'moid')
      if values[1] and values[2] then
        for _, value in ipairs({e164, i + 1, values[1], values[2]}) do
          found[#found + 1] = value
        end
        break
      end
    end
  end
end
return found
