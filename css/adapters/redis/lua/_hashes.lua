-- {key, {field, value, …}, key, {}, …}: each hash is replaced, an empty one deleted; lists of families follow.
local function replace_hashes(hashes)
  for i = 1, #hashes, 2 do
    local key, list = hashes[i], 'css/hashes/' .. (string.match(hashes[i], '^([^/]+)/') or '')
    redis.call('DEL', key)
    if #hashes[i + 1] > 0 then
      redis.call('HSET', key, unpack(hashes[i + 1]))
      -- A list that is not there yet is made by the first who reads it, from all that is there.
      if redis.call('EXISTS', list) == 1 then
        redis.call('SADD', list, key)
      end
    else
      redis.call('SREM', list, key)
    end
  end
end
