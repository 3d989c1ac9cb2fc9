-- Puts one entry {platform, lane, due_ms}, whose data is ARGV[2], in the outbox under the empty number; its mark is the
-- next number of the book. Forgets `cleared` {platform, lane, mark} each. Returns {mark, 1 if earlier ones wait}.
local function told(entry, cleared)
  local mark = string.format('%.0f.0', redis.call('INCR', 'css/upu/seq'))
  for _, each in ipairs(cleared) do
    clear_entry(each[1] .. '/' .. each[2], '', each[3])
  end
  local waiting = append_outbox('', {{entry[1], entry[2], mark, entry[3]}})
  for _, each in ipairs(cleared) do
    close_lane(each[1], each[2])
  end
  return {mark, #waiting > 0 and 1 or 0}
end
