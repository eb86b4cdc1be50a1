-- Adds one batch of counts to the fleet's totals, exactly once.
--
-- KEYS  1 totals (hash: field -> number)   2 customers (hash)   3 last sequence number of this writer
-- ARGV  1 sequence number of the batch   2 TTL of KEYS[3] in seconds   3 max_customers   4 max_error_types
--       5 number of counters
--       then for each counter: kind, task, detail, customer, increment
--       then for each sum:     field, increment in seconds
-- Returns 0 if the batch was added before, or has the number 0.
--         -N if KEYS[N] holds a value that this script does not write.
--         Otherwise 1, plus 2 if the totals were gone, plus 4 if the writer's last number was gone.
--
-- Redis does not roll back a failed script, so nothing may fail between the writes of the totals and
-- of the sequence number. The order is therefore: read everything; write the old sequence number, which
-- proves that writing is possible; write the customers, where a repetition is harmless; write all totals
-- in one command; write the new sequence number.
local sequence, max_customers, max_error_types = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local first_sum = 6 + 5 * ARGV[5]  -- index in ARGV
local uncapped = {[''] = true, unknown = true, other = true}
local reading  -- index of the key that is being read

-- Return the value as a number from 0 to 2^53, 0 if it is missing, nil if it is anything else.
local function number(value)
    local found = tonumber(value or '0')
    return found and found >= 0 and found <= 9007199254740992 and found or nil
end

-- Return name -> value for fields of the hash KEYS[key].
local function lookup(key, names)
    reading = key
    local found = {}
    if #names > 0 then
        local values = redis.call('HMGET', KEYS[key], unpack(names))
        for place, name in ipairs(names) do
            found[name] = values[place]
        end
    end
    return found
end

-- Return the field of the counter at ARGV[at]. visit(group, name, limit) returns the name to show for a member
-- of a capped group: the customers of a task, or its error types of one kind. KEYS[2] holds the size of each
-- group and a field for each member that keeps its name.
local function field_of(at, visit)
    local kind, task, detail, customer = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    if (kind == 'failed' or kind == 'retried') and not uncapped[detail] then
        detail = visit('\0' .. kind .. '\0' .. task, detail, max_error_types)
    end
    if not uncapped[customer] then
        customer = visit(task, customer, max_customers)
    end
    return table.concat({kind, task, detail, customer}, '\0')
end

-- Return the fields of KEYS[2] for all capped groups of the batch and their members.
local function known_names()
    local names, listed = {}, {}
    local function list(name)
        if not listed[name] then
            listed[name] = true
            names[#names + 1] = name
        end
    end
    for at = 6, first_sum - 1, 5 do
        field_of(at, function(group, name)
            list(group)
            list(group .. '\0' .. name)
            return name
        end)
    end
    return lookup(2, names)
end

local function add()
    reading = 3
    local stored = redis.call('GET', KEYS[3])
    local last = number(stored)
    if not last then
        return -3
    elseif sequence == 0 then  -- only a test whether the store can be written
        redis.call('SET', KEYS[3], string.format('%.0f', last), 'EX', ARGV[2])
        return 0
    elseif sequence <= last then
        return 0
    end
    reading = 1
    local gone = sequence > 1 and redis.call('HLEN', KEYS[1]) == 0

    -- The caps hold for the whole fleet: the first members of a group keep their names.
    local known, updates, invalid = known_names(), {}, false
    local function shown(group, name, limit)
        local member = group .. '\0' .. name
        if known[member] then
            return name
        end
        local size = number(known[group])
        invalid = invalid or not size
        if invalid or size >= limit then
            return 'other'
        end
        known[group], known[member] = size + 1, '1'
        updates[member], updates[group] = 1, size + 1
        return name
    end
    local fields, increments, formats = {}, {}, {}
    local function increase(field, increment, format)
        if not increments[field] then
            fields[#fields + 1] = field
            formats[field] = format
        end
        increments[field] = (increments[field] or 0) + increment
    end
    for at = 6, first_sum - 1, 5 do
        increase(field_of(at, shown), ARGV[at + 4], '%.0f')
    end
    if invalid then
        return -2
    end
    for at = first_sum, #ARGV, 2 do
        increase(ARGV[at], ARGV[at + 1], '%.17g')
    end
    local totals, changes, cap_changes = lookup(1, fields), {}, {}
    for _, field in ipairs(fields) do
        local total = number(totals[field])
        if not total then
            return -1
        end
        changes[#changes + 1] = field
        changes[#changes + 1] = string.format(formats[field], total + increments[field])
    end
    for name, value in pairs(updates) do
        cap_changes[#cap_changes + 1] = name
        cap_changes[#cap_changes + 1] = value
    end

    redis.call('SET', KEYS[3], string.format('%.0f', last), 'EX', ARGV[2])
    for at = 1, #cap_changes, 4000 do  -- Lua cannot pass 8,000 arguments
        redis.call('HSET', KEYS[2], unpack(cap_changes, at, math.min(at + 3999, #cap_changes)))
    end
    if #changes > 0 then
        redis.call('HSET', KEYS[1], unpack(changes))
    end
    redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
    return 1 + (gone and 2 or 0) + (sequence > 1 and not stored and 4 or 0)
end

local done, result = pcall(add)
if done then
    return result
end
local reason = type(result) == 'table' and result.err or tostring(result)
if reason:find('WRONGTYPE', 1, true) then
    return -reading
end
-- The message for a command that the user may not run differs between servers, and most have no error code.
for _, words in ipairs({'executing the script can', 'ACL failure', 'NOPERM'}) do
    if reason:find(words, 1, true) then
        return redis.error_reply('NOPERM a command of the script')
    end
end
return redis.error_reply(reason)
