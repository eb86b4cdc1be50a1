-- Adds one batch of counts to the fleet's totals, exactly once.
--
-- KEYS  1 totals (hash: field -> number)   2 customers (hash)   3 this writer's last sequence
-- ARGV  1 sequence   2 seconds to remember the writer   3 max_customers   4 max_error_types
--       5 number of counters
--       then for each counter: kind, task, detail, customer, increment
--       then for each sum:     field, increment in seconds
-- Returns 0 if the batch had been added before, or is number 0; -N if KEYS[N] holds something else than this
--         script writes; else 1, +2 if the totals were gone, +4 if the writer's last sequence was.
--
-- Redis does not undo what a failed script has written, so no failure may come between the totals
-- and the sequence. Everything is read first. Then the sequence is written as it was, to see
-- whether it can be; the customers, which may be written twice; all totals with one command; and
-- the new sequence.
local sequence, max_customers, max_error_types = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local sums = 6 + 5 * ARGV[5]  -- where they begin
local uncapped = {[''] = true, unknown = true, other = true}
local reading  -- the number of the key that is read

-- What this script writes are numbers from 0 to 2^53; nil for anything else.
local function number(value)
    local found = tonumber(value or '0')
    return found and found >= 0 and found <= 9007199254740992 and found or nil
end

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

-- The field of a counter. visit(group, name, limit) says what is shown for a name of a capped group:
-- a task's customers, its error types of a kind. The hash of customers has the size of each group and its names.
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

-- Capped groups and their names -> what the customers' hash says of them.
local function known_names()
    local names, listed = {}, {}
    local function list(name)
        if not listed[name] then
            listed[name] = true
            names[#names + 1] = name
        end
    end
    for at = 6, sums - 1, 5 do
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
    elseif sequence == 0 then  -- to find out whether the store can be written
        redis.call('SET', KEYS[3], string.format('%.0f', last), 'EX', ARGV[2])
        return 0
    elseif sequence <= last then
        return 0
    end
    reading = 1
    local gone = sequence > 1 and redis.call('HLEN', KEYS[1]) == 0

    -- The caps are the whole fleet's: the first names of a group are kept.
    local known, claims, spoiled = known_names(), {}, false
    local function shown(group, name, limit)
        local member = group .. '\0' .. name
        if known[member] then
            return name
        end
        local size = number(known[group])
        spoiled = spoiled or not size
        if spoiled or size >= limit then
            return 'other'
        end
        known[group], known[member] = size + 1, '1'
        claims[member], claims[group] = 1, size + 1
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
    for at = 6, sums - 1, 5 do
        increase(field_of(at, shown), ARGV[at + 4], '%.0f')
    end
    if spoiled then
        return -2
    end
    for at = sums, #ARGV, 2 do
        increase(ARGV[at], ARGV[at + 1], '%.17g')
    end
    local totals, changes, claimed = lookup(1, fields), {}, {}
    for _, field in ipairs(fields) do
        local total = number(totals[field])
        if not total then
            return -1
        end
        changes[#changes + 1] = field
        changes[#changes + 1] = string.format(formats[field], total + increments[field])
    end
    for name, value in pairs(claims) do
        claimed[#claimed + 1] = name
        claimed[#claimed + 1] = value
    end

    redis.call('SET', KEYS[3], string.format('%.0f', last), 'EX', ARGV[2])
    for at = 1, #claimed, 4000 do  -- Lua cannot pass 8,000 arguments
        redis.call('HSET', KEYS[2], unpack(claimed, at, math.min(at + 3999, #claimed)))
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
-- Servers word it differently when the script may not run a command; most without a code of their own.
for _, words in ipairs({'executing the script can', 'ACL failure', 'NOPERM'}) do
    if reason:find(words, 1, true) then
        return redis.error_reply('NOPERM a command of the script')
    end
end
return redis.error_reply(reason)
