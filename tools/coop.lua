-- Wireshark dissector for COOP, the endpoint directory's protocol between leaves and oracles, inside ZeroMQ (ZMTP 3).
--
-- Copy this file to Wireshark's folder of personal Lua plugins (Help > About > Folders), or: tshark -X lua_script:coop.lua
-- It recognises connections by ZMTP's greeting. A capture that begins later is dissected on the TCP ports in the
-- preferences of "COOP". What CURVE encrypts is shown as such: nobody but the two ends can read it.
--
-- The messages are those of endpoint/coop/body.go; field names for filters begin with "coop." and "coop.record.".

local coop = Proto("coop", "Council of Oracles Protocol over ZeroMQ")

coop.prefs.ports = Pref.range("TCP ports", "2028-2029", "Ports to dissect even if the capture lacks the greeting", 65535)

local types = {
  [1] = "HELLO", [2] = "HELLO-ACK", [3] = "PUBLISH", [4] = "ACK", [5] = "MOVED", [6] = "LOOKUP", [7] = "ANSWER", [8] = "GLEAN",
  [9] = "INTEREST", [10] = "DELTA", [11] = "SNAPSHOT", [12] = "CHUNK", [13] = "END", [14] = "DIGEST", [15] = "SYNC",
}
local roles = { [1] = "leaf", [2] = "oracle" }
local causes = {
  [1] = "learn", [2] = "move", [3] = "update", [4] = "refresh", [5] = "age", [6] = "linkdown", [7] = "clear", [8] = "config",
}
local statuses = { [0] = "active", [1] = "stale", [2] = "tombstone", [3] = "critical", [4] = "freeze" }
local outcomes = { [1] = "ok", [2] = "older", [3] = "damped", [4] = "refused" }
local founds = { [1] = "record", [2] = "none", [3] = "gleaning" }
local reasons = {
  [0] = "none", [1] = "malformed", [2] = "oversized", [3] = "version", [4] = "type", [5] = "area", [6] = "role", [7] = "name",
  [8] = "member", [9] = "session", [10] = "epoch", [11] = "record", [12] = "tunnel_address", [13] = "publisher", [14] = "clock",
  [15] = "cause", [16] = "capacity",
}

local f = {
  greeting = ProtoField.string("coop.zmtp.greeting", "ZMTP greeting"),
  command = ProtoField.string("coop.zmtp.command", "ZMTP command"),
  data = ProtoField.bytes("coop.zmtp.data", "ZMTP message of another protocol"),
  topic = ProtoField.string("coop.topic", "Topic"),
  version = ProtoField.uint8("coop.version", "Version"),
  type = ProtoField.uint8("coop.type", "Type", base.DEC, types),
  flags = ProtoField.uint16("coop.flags", "Flags", base.HEX),
  area = ProtoField.string("coop.area", "Area"),
  epoch = ProtoField.uint64("coop.epoch", "Epoch of the sender"),
  seq = ProtoField.uint64("coop.seq", "Message number"),
  ack = ProtoField.uint64("coop.ack", "Answers message"),
  node = ProtoField.string("coop.node", "Node"),
  role = ProtoField.uint8("coop.role", "Role", base.DEC, roles),
  tep4 = ProtoField.ipv4("coop.tep", "Tunnel address"),
  tep6 = ProtoField.ipv6("coop.tep6", "Tunnel address"),
  ip4 = ProtoField.ipv4("coop.ip", "Address"),
  ip6 = ProtoField.ipv6("coop.ip6", "Address"),
  hold = ProtoField.uint16("coop.hold", "Hold (s)"),
  caps = ProtoField.uint32("coop.caps", "Capabilities", base.HEX),
  drain = ProtoField.bool("coop.drain", "Drained"),
  count = ProtoField.uint32("coop.count", "Records told"),
  hash = ProtoField.uint64("coop.hash", "Hash", base.HEX),
  bd = ProtoField.uint32("coop.bd", "Bridge domain"),
  stream = ProtoField.uint64("coop.stream", "Stream epoch"),
  position = ProtoField.uint64("coop.position", "Position"),
  reason = ProtoField.uint8("coop.reason", "Refused for", base.DEC, reasons),
  detail = ProtoField.string("coop.detail", "Detail"),
  ready = ProtoField.bool("coop.ready", "Ready"),
  peer = ProtoField.string("coop.peer", "Other oracle"),
  resync = ProtoField.uint32("coop.resync", "Resync"),
  records = ProtoField.uint16("coop.records", "Records"),
  cause = ProtoField.uint8("coop.cause", "Cause", base.DEC, causes),
  outcome = ProtoField.uint8("coop.outcome", "Outcome", base.DEC, outcomes),
  has = ProtoField.bool("coop.current", "Has the current record"),
  until_ms = ProtoField.uint32("coop.until", "Try again after (ms)"),
  bounce = ProtoField.uint32("coop.bounce", "Bounce (s)"),
  mac = ProtoField.ether("coop.mac", "MAC address"),
  vrf = ProtoField.uint32("coop.vrf", "VRF"),
  found = ProtoField.uint8("coop.found", "Answer", base.DEC, founds),
  ttl = ProtoField.uint16("coop.ttl", "Negative lifetime (s)"),
  oracle = ProtoField.string("coop.oracle", "Oracle"),
  index = ProtoField.uint32("coop.index", "Index"),
  chunks = ProtoField.uint32("coop.chunks", "Chunks"),
  same = ProtoField.bool("coop.same", "Nothing changed"),
  upto = ProtoField.int64("coop.upto", "Up to time stamp (ns)"),
  buckets = ProtoField.bytes("coop.buckets", "Hashes of 1024 buckets"),
  leaf = ProtoField.string("coop.leaf", "Leaf with a session"),
  r_bd = ProtoField.uint32("coop.record.bd", "Bridge domain"),
  r_mac = ProtoField.ether("coop.record.mac", "MAC address"),
  r_vrf = ProtoField.uint32("coop.record.vrf", "VRF"),
  r_group = ProtoField.uint32("coop.record.group", "Group"),
  r_vlan = ProtoField.uint16("coop.record.vlan", "VLAN"),
  r_flags = ProtoField.uint16("coop.record.flags", "Flags", base.HEX),
  r_status = ProtoField.uint8("coop.record.status", "Status", base.DEC, statuses),
  r_seq = ProtoField.uint32("coop.record.seq", "Sequence number"),
  r_ts = ProtoField.int64("coop.record.ts", "Time stamp (ns)"),
  r_epoch = ProtoField.uint64("coop.record.epoch", "Epoch of the publisher"),
  r_penalty = ProtoField.uint16("coop.record.penalty", "Penalty"),
  r_tep4 = ProtoField.ipv4("coop.record.tep", "Tunnel address"),
  r_tep6 = ProtoField.ipv6("coop.record.tep6", "Tunnel address"),
  r_prev4 = ProtoField.ipv4("coop.record.prev", "Previous tunnel address"),
  r_prev6 = ProtoField.ipv6("coop.record.prev6", "Previous tunnel address"),
  r_publisher = ProtoField.string("coop.record.publisher", "Publisher"),
  r_port = ProtoField.string("coop.record.port", "Port"),
  r_ip4 = ProtoField.ipv4("coop.record.ip", "Address"),
  r_ip6 = ProtoField.ipv6("coop.record.ip6", "Address"),
}
local fields = {}
for _, v in pairs(f) do fields[#fields + 1] = v end
coop.fields = fields

local malformed = ProtoExpert.new("coop.malformed", "COOP message is malformed", expert.group.MALFORMED, expert.severity.ERROR)
coop.experts = { malformed }

-- Reader: takes fields from a body one after the other and puts them into the tree. Running over the end raises an error,
-- which the caller turns into an expert item.

local Reader = {}
Reader.__index = Reader

local function reader(range) return setmetatable({ range = range, at = 0 }, Reader) end

function Reader:take(n)
  if self.at + n > self.range:len() then error("short") end
  local r = nil
  if n > 0 then r = self.range(self.at, n) end
  self.at = self.at + n
  return r
end

function Reader:add(tree, field, n)
  local r = self:take(n)
  tree:add(field, r)
  return r
end

function Reader:name(tree, field)
  local n = self:take(1):uint()
  if n == 0 then return "" end
  local r = self:take(n)
  tree:add(field, r)
  return r:string()
end

function Reader:addr(tree, four, six)
  local n = self:take(1):uint()
  if n == 0 then return "none" end
  local r = self:take(n)
  if n == 4 then
    tree:add(four, r)
    return tostring(r:ipv4())
  elseif n == 16 then
    tree:add(six, r)
    return tostring(r:ipv6())
  end
  error("address")
end

function Reader:record(tree)
  local begin = self.at
  local t = tree:add(coop, self.range(begin), "Record")
  local bd = self:add(t, f.r_bd, 4):uint()
  local mac = tostring(self:add(t, f.r_mac, 6):ether())
  self:add(t, f.r_vrf, 4)
  self:add(t, f.r_group, 4)
  self:add(t, f.r_vlan, 2)
  self:add(t, f.r_flags, 2)
  local status = self:add(t, f.r_status, 1):uint()
  local seq = self:add(t, f.r_seq, 4):uint()
  self:add(t, f.r_ts, 8)
  self:add(t, f.r_epoch, 8)
  self:add(t, f.r_penalty, 2)
  local tep = self:addr(t, f.r_tep4, f.r_tep6)
  self:addr(t, f.r_prev4, f.r_prev6)
  self:addr(t, f.r_prev4, f.r_prev6)
  self:name(t, f.r_publisher)
  self:name(t, f.r_port)
  local n = self:take(2):uint()
  for _ = 1, n do
    self:addr(t, f.r_ip4, f.r_ip6)
    self:take(8)
  end
  t:set_len(self.at - begin)
  t:set_text(string.format("Record %d/%s at %s, %s, seq %d", bd, mac, tep, statuses[status] or "?", seq))
end

function Reader:records(tree)
  local n = self:add(tree, f.records, 2):uint()
  for _ = 1, n do self:record(tree) end
  return n .. " records"
end

function Reader:position(tree)
  local bd = self:add(tree, f.bd, 4):uint()
  self:add(tree, f.stream, 8)
  self:add(tree, f.position, 8)
  return bd
end

function Reader:positions(tree)
  local n = self:take(2):uint()
  for _ = 1, n do self:position(tree) end
  return n .. " domains"
end

function Reader:query(tree)
  local bd = self:add(tree, f.bd, 4):uint()
  local mac = tostring(self:add(tree, f.mac, 6):ether())
  self:add(tree, f.vrf, 4)
  local ip = self:addr(tree, f.ip4, f.ip6)
  if ip ~= "none" then return ip end
  return bd .. "/" .. mac
end

-- Bodies by type: each returns what is shown in the packet list.

local bodies = {}

bodies[1] = function(r, t)
  local node = r:name(t, f.node)
  local role = r:add(t, f.role, 1):uint()
  local n = r:take(1):uint()
  for _ = 1, n do r:addr(t, f.tep4, f.tep6) end
  r:add(t, f.hold, 2)
  r:add(t, f.caps, 4)
  r:add(t, f.drain, 1)
  r:add(t, f.count, 4)
  r:add(t, f.hash, 8)
  r:positions(t)
  return (roles[role] or "?") .. " " .. node
end

bodies[2] = function(r, t)
  local reason = r:add(t, f.reason, 1):uint()
  r:name(t, f.detail)
  r:add(t, f.ready, 1)
  local n = r:take(1):uint()
  for _ = 1, n do r:name(t, f.peer) end
  local resync = r:add(t, f.resync, 4):uint()
  if reason ~= 0 then return "refused: " .. (reasons[reason] or "?") end
  if resync ~= 0 then return "resync " .. resync end
  return "accepted"
end

bodies[3] = function(r, t)
  local n = r:add(t, f.records, 2):uint()
  for _ = 1, n do
    r:add(t, f.cause, 1)
    r:record(t)
  end
  return n .. " records"
end

bodies[4] = function(r, t)
  local reason = r:add(t, f.reason, 1):uint()
  r:name(t, f.detail)
  local n = r:add(t, f.records, 2):uint()
  local counts = {}
  for _ = 1, n do
    local o = r:add(t, f.outcome, 1):uint()
    counts[o] = (counts[o] or 0) + 1
    if o == 1 then
      r:add(t, f.r_seq, 4)
      r:addr(t, f.r_prev4, f.r_prev6)
    elseif o == 2 then
      if r:add(t, f.has, 1):uint() == 1 then r:record(t) end
    elseif o == 3 then
      r:add(t, f.r_seq, 4)
      r:add(t, f.r_penalty, 2)
      r:add(t, f.until_ms, 4)
    elseif o == 4 then
      r:add(t, f.reason, 1)
      r:name(t, f.detail)
    else
      error("outcome")
    end
  end
  if reason ~= 0 then return "refused: " .. (reasons[reason] or "?") end
  local words = {}
  for o = 1, 4 do
    if counts[o] then words[#words + 1] = counts[o] .. " " .. outcomes[o] end
  end
  return table.concat(words, ", ")
end

bodies[5] = function(r, t)
  r:add(t, f.bounce, 4)
  r:record(t)
  return ""
end

bodies[6] = function(r, t) return r:query(t) end

bodies[7] = function(r, t)
  local q = r:query(t)
  local found = r:add(t, f.found, 1):uint()
  r:add(t, f.ttl, 2)
  if found == 1 then r:record(t) end
  return q .. ": " .. (founds[found] or "?")
end

bodies[8] = function(r, t)
  local bd = r:add(t, f.bd, 4):uint()
  local ip = r:addr(t, f.ip4, f.ip6)
  r:add(t, f.mac, 6)
  return ip .. " in " .. bd
end

bodies[9] = function(r, t) return r:positions(t) end

bodies[10] = function(r, t)
  local oracle = r:name(t, f.oracle)
  local bd = r:add(t, f.bd, 4):uint()
  r:add(t, f.stream, 8)
  local n = tostring(r:add(t, f.position, 8):uint64())
  return oracle .. " domain " .. bd .. " position " .. n .. ", " .. r:records(t)
end

bodies[11] = function(r, t) return "domain " .. r:position(t) end

bodies[12] = function(r, t)
  local i = r:add(t, f.index, 4):uint()
  return "number " .. i .. ", " .. r:records(t)
end

bodies[13] = function(r, t)
  local bd = r:position(t)
  r:add(t, f.chunks, 4)
  r:add(t, f.same, 1)
  local resync = r:add(t, f.resync, 4):uint()
  r:add(t, f.upto, 8)
  if resync ~= 0 then return "of resync " .. resync end
  return "domain " .. bd
end

bodies[14] = function(r, t)
  r:add(t, f.buckets, 8192)
  local n = r:take(2):uint()
  for _ = 1, n do
    r:name(t, f.leaf)
    r:add(t, f.epoch, 8)
  end
  return n .. " leaves"
end

bodies[15] = function(r, t) return r:records(t) end

-- dissect_coop shows the six frames of a message; parts are ranges, nil where a frame is empty.
local function dissect_coop(parts, first, whole, pinfo, tree)
  local head = parts[first]
  local t = tree:add(coop, whole)
  if first == 2 and parts[1] then t:add(f.topic, parts[1]) end
  t:add(f.version, head(4, 1))
  t:add(f.type, head(5, 1))
  t:add(f.flags, head(6, 2))
  if parts[first + 1] then t:add(f.area, parts[first + 1]) end
  t:add(f.epoch, parts[first + 2])
  t:add(f.seq, parts[first + 3])
  t:add(f.ack, parts[first + 4])
  local kind, info = head(5, 1):uint(), ""
  local name = types[kind] or ("type " .. kind)
  local body = parts[first + 5]
  if bodies[kind] and body then
    local r = reader(body)
    local ok, result = pcall(bodies[kind], r, t)
    if ok and r.at == body:len() then
      info = " " .. result
    else
      t:add_proto_expert_info(malformed)
      info = " [malformed]"
    end
  end
  t:append_text(": " .. name .. info)
  return name .. info
end

-- message dissects the ZMTP message at offset. It returns where the next one begins, nil if the message is not complete,
-- false if this is no ZMTP; and what to show in the packet list.
local function message(tvb, offset, pinfo, tree)
  local parts, n, at, more = {}, 0, offset, true
  while more do
    if at + 2 > tvb:len() then return nil end
    local flags = tvb(at, 1):uint()
    if flags > 7 then return false end
    local size, len = 2, 0
    if flags % 4 >= 2 then
      size = 9
      if at + size > tvb:len() then return nil end
      len = tvb(at + 1, 8):uint64():tonumber()
    else
      len = tvb(at + 1, 1):uint()
    end
    if at + size + len > tvb:len() then return nil end
    if flags >= 4 then -- a command
      if len == 0 then return false end
      local namelen = tvb(at + size, 1):uint()
      if namelen == 0 or 1 + namelen > len then return false end
      local name = tvb(at + size + 1, namelen):string()
      if name == "MESSAGE" then name = "encrypted by CURVE" end
      tree:add(coop, tvb(at, size + len), "ZMTP command"):add(f.command, tvb(at + size, len), name)
      return at + size + len, "[" .. name .. "]"
    end
    -- 25/ZMTP-CURVE makes MESSAGE a command; libzmq and others send it as a plain frame.
    if len >= 8 and n == 0 and tvb(at + size, 8):string() == "\7MESSAGE" then
      tree:add(coop, tvb(at, size + len), "ZMTP command"):add(f.command, tvb(at + size, len), "encrypted by CURVE")
      return at + size + len, "[encrypted by CURVE]"
    end
    n = n + 1
    if len > 0 then parts[n] = tvb(at + size, len) end
    at = at + size + len
    more = flags % 2 == 1
  end
  local whole = tvb(offset, at - offset)
  for first = 1, 2 do
    local head = parts[first]
    if n == 5 + first and head and head:len() == 8 and head(0, 4):string() == "COOP" and parts[first + 2] and parts[first + 3] and parts[first + 4]
        and parts[first + 2]:len() == 8 and parts[first + 3]:len() == 8 and parts[first + 4]:len() == 8 then
      return at, dissect_coop(parts, first, whole, pinfo, tree)
    end
  end
  tree:add(coop, whole, "ZMTP message"):add(f.data, whole)
  return at, "[ZMTP message of " .. n .. " frames]"
end

local function is_greeting(tvb, offset)
  return tvb:len() - offset >= 10 and tvb(offset, 1):uint() == 0xff and tvb(offset + 9, 1):uint() == 0x7f
end

function coop.dissector(tvb, pinfo, tree)
  local offset, shown = 0, {}
  pinfo.cols.protocol = "COOP"
  while offset < tvb:len() do
    local next, info
    if is_greeting(tvb, offset) then
      if tvb:len() - offset < 64 then
        next = nil
      else
        local mechanism = tvb(offset + 12, 20):stringz()
        tree:add(coop, tvb(offset, 64), "ZMTP greeting"):add(f.greeting, tvb(offset, 64), mechanism)
        next, info = offset + 64, "[greeting " .. mechanism .. "]"
      end
    elseif tvb(offset, 1):uint() == 0xff and tvb:len() - offset < 10 then
      next = nil
    else
      next, info = message(tvb, offset, pinfo, tree)
    end
    if next == nil then
      pinfo.desegment_offset = offset
      pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
      break
    end
    if next == false then
      tree:add_proto_expert_info(malformed)
      break
    end
    if info ~= shown[#shown] then shown[#shown + 1] = info end
    offset = next
  end
  if #shown > 0 then pinfo.cols.info = table.concat(shown, "; ") end
  return tvb:len()
end

coop:register_heuristic("tcp", function(tvb, pinfo, tree)
  if not is_greeting(tvb, 0) then return false end
  pinfo.conversation = coop
  coop.dissector(tvb, pinfo, tree)
  return true
end)

local registered
local function register()
  local ports = DissectorTable.get("tcp.port")
  if registered then ports:remove(registered, coop) end
  registered = coop.prefs.ports
  if registered ~= "" then ports:add(registered, coop) end
end
coop.prefs_changed = register
register()
