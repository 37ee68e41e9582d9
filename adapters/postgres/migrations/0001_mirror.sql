-- The mirror of event logs: which logs, how far each is mirrored, and the rows.
-- Applied by `kapitaalbot mirror migrate` in one transaction; docs/howto-postgres.md explains it.

CREATE TABLE logs (
    log_id text PRIMARY KEY CHECK (log_id <> ''),
    header text NOT NULL, -- hash of the log's first header: another log of this name is refused
    config_hash text NOT NULL,
    registered timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE instruments (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    sym smallint NOT NULL CHECK (sym >= 0),
    symbol text NOT NULL,
    base text NOT NULL,
    quote text NOT NULL,
    price_increment numeric NOT NULL CHECK (price_increment > 0 AND price_increment < 1e30),
    qty_increment numeric NOT NULL CHECK (qty_increment > 0 AND qty_increment < 1e30),
    PRIMARY KEY (log_id, sym)
);

-- One row per transaction of the mirror. Each names the one before it, so that no hole can be
-- and no two writers can go on from the same place.
CREATE TABLE batches (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    batch bigint NOT NULL CHECK (batch > 0),
    before bigint GENERATED ALWAYS AS (nullif(batch, 1) - 1) STORED,
    seq_to bigint NOT NULL CHECK (seq_to >= -1), -- all events up to here are mirrored
    rows_to jsonb NOT NULL, -- rows of each table of the run that are accounted for
    digest text NOT NULL,
    committed timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log_id, batch),
    FOREIGN KEY (log_id, before) REFERENCES batches (log_id, batch)
);

CREATE TABLE events (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    ts_venue bigint NOT NULL CHECK (ts_venue >= 0 AND ts_venue < 4611686018427387904),
    kind smallint NOT NULL,
    sym smallint NOT NULL,
    side smallint NOT NULL CHECK (side IN (-1, 0, 1)),
    price bigint NOT NULL,
    qty bigint NOT NULL,
    id bigint NOT NULL,
    aux bigint NOT NULL,
    flags integer NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    time_venue timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_venue, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    kind_name text,
    symbol text,
    side_name text,
    price_quote numeric CHECK (price_quote > -1e30 AND price_quote < 1e30),
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    money_quote numeric CHECK (money_quote > -1e30 AND money_quote < 1e30),
    asset text,
    code_name text,
    why_name text,
    PRIMARY KEY (log_id, seq)
);

CREATE TABLE commands (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    seq bigint NOT NULL CHECK (seq >= 0),
    seq_last bigint NOT NULL CHECK (seq_last >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    generation bigint NOT NULL,
    id bigint NOT NULL,
    route bigint NOT NULL,
    price bigint NOT NULL,
    trigger bigint NOT NULL,
    qty bigint NOT NULL,
    expire_ts bigint NOT NULL,
    reason bigint NOT NULL,
    sym bigint NOT NULL,
    kind bigint NOT NULL,
    side bigint NOT NULL CHECK (side IN (-1, 0, 1)),
    type bigint NOT NULL,
    tif bigint NOT NULL,
    post_only bigint NOT NULL,
    role bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    route_name text,
    price_quote numeric CHECK (price_quote > -1e30 AND price_quote < 1e30),
    trigger_quote numeric CHECK (trigger_quote > -1e30 AND trigger_quote < 1e30),
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    time_expire timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(expire_ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    reason_name text,
    symbol text,
    kind_name text,
    side_name text,
    type_name text,
    tif_name text,
    role_name text,
    PRIMARY KEY (log_id, seq)
);

CREATE TABLE orders (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    id bigint NOT NULL,
    sym bigint NOT NULL,
    generation bigint NOT NULL,
    route bigint NOT NULL,
    role bigint NOT NULL,
    side bigint NOT NULL CHECK (side IN (-1, 0, 1)),
    type bigint NOT NULL,
    price bigint NOT NULL,
    trigger bigint NOT NULL,
    qty bigint NOT NULL,
    filled bigint NOT NULL,
    state bigint NOT NULL,
    state_before bigint NOT NULL,
    cause bigint NOT NULL,
    reason bigint NOT NULL,
    ts_decided bigint NOT NULL,
    ts_sent bigint NOT NULL,
    ts_acked bigint NOT NULL,
    ts_filled bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    route_name text,
    role_name text,
    side_name text,
    type_name text,
    price_quote numeric CHECK (price_quote > -1e30 AND price_quote < 1e30),
    trigger_quote numeric CHECK (trigger_quote > -1e30 AND trigger_quote < 1e30),
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    filled_base numeric CHECK (filled_base > -1e30 AND filled_base < 1e30),
    state_name text,
    state_before_name text,
    cause_name text,
    reason_name text,
    time_decided timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_decided, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    time_sent timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_sent, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    time_acked timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_acked, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    time_filled timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_filled, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE fills (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    ts_venue bigint NOT NULL,
    order_id bigint NOT NULL,
    exec_id bigint NOT NULL,
    sym bigint NOT NULL,
    generation bigint NOT NULL,
    route bigint NOT NULL,
    role bigint NOT NULL,
    side bigint NOT NULL CHECK (side IN (-1, 0, 1)),
    price bigint NOT NULL,
    qty bigint NOT NULL,
    notional bigint NOT NULL,
    fee bigint NOT NULL,
    maker bigint NOT NULL,
    mid_half_ticks bigint NOT NULL,
    position bigint NOT NULL,
    realized bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    time_venue timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts_venue, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    route_name text,
    role_name text,
    side_name text,
    price_quote numeric CHECK (price_quote > -1e30 AND price_quote < 1e30),
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    notional_quote numeric CHECK (notional_quote > -1e30 AND notional_quote < 1e30),
    fee_quote numeric CHECK (fee_quote > -1e30 AND fee_quote < 1e30),
    mid_quote numeric CHECK (mid_quote > -1e30 AND mid_quote < 1e30),
    position_base numeric CHECK (position_base > -1e30 AND position_base < 1e30),
    realized_quote numeric CHECK (realized_quote > -1e30 AND realized_quote < 1e30),
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE positions (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    sym bigint NOT NULL,
    state bigint NOT NULL,
    qty bigint NOT NULL,
    cost bigint NOT NULL,
    route bigint NOT NULL,
    opened_ts bigint NOT NULL,
    coverage bigint NOT NULL,
    stop bigint NOT NULL,
    target bigint NOT NULL,
    covered bigint NOT NULL,
    unprotected_ns bigint NOT NULL,
    realized bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    state_name text,
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    cost_quote numeric CHECK (cost_quote > -1e30 AND cost_quote < 1e30),
    route_name text,
    time_opened timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(opened_ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    coverage_name text,
    stop_quote numeric CHECK (stop_quote > -1e30 AND stop_quote < 1e30),
    target_quote numeric CHECK (target_quote > -1e30 AND target_quote < 1e30),
    covered_base numeric CHECK (covered_base > -1e30 AND covered_base < 1e30),
    realized_quote numeric CHECK (realized_quote > -1e30 AND realized_quote < 1e30),
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE realized (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    sym bigint NOT NULL,
    route bigint NOT NULL,
    opened_ts bigint NOT NULL,
    hold_ns bigint NOT NULL,
    qty bigint NOT NULL,
    bought bigint NOT NULL,
    sold bigint NOT NULL,
    fees bigint NOT NULL,
    net bigint NOT NULL,
    exit_reason bigint NOT NULL,
    expected_bps double precision CHECK (expected_bps <> 'NaN'),
    realized_bps double precision CHECK (realized_bps <> 'NaN'),
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    route_name text,
    time_opened timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(opened_ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    bought_quote numeric CHECK (bought_quote > -1e30 AND bought_quote < 1e30),
    sold_quote numeric CHECK (sold_quote > -1e30 AND sold_quote < 1e30),
    fees_quote numeric CHECK (fees_quote > -1e30 AND fees_quote < 1e30),
    net_quote numeric CHECK (net_quote > -1e30 AND net_quote < 1e30),
    exit_reason_name text,
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE balances (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    sym bigint NOT NULL,
    told bigint NOT NULL,
    own bigint NOT NULL,
    foreign_part bigint NOT NULL,
    difference bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    asset text,
    told_amount numeric CHECK (told_amount > -1e30 AND told_amount < 1e30),
    own_amount numeric CHECK (own_amount > -1e30 AND own_amount < 1e30),
    foreign_part_amount numeric CHECK (foreign_part_amount > -1e30 AND foreign_part_amount < 1e30),
    difference_amount numeric CHECK (difference_amount > -1e30 AND difference_amount < 1e30),
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE decisions (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    generation bigint NOT NULL,
    sym bigint NOT NULL,
    outcome bigint NOT NULL,
    blocker bigint NOT NULL,
    route bigint NOT NULL,
    runner_up bigint NOT NULL,
    margin_bps double precision CHECK (margin_bps <> 'NaN'),
    n_candidates bigint NOT NULL,
    n_active bigint NOT NULL,
    bid bigint NOT NULL,
    ask bigint NOT NULL,
    mid_half_ticks bigint NOT NULL,
    spread_bps double precision CHECK (spread_bps <> 'NaN'),
    regime bigint NOT NULL,
    book_age_ns bigint NOT NULL,
    trade_age_ns bigint NOT NULL,
    verdict bigint NOT NULL,
    check_code bigint NOT NULL,
    check_value double precision CHECK (check_value <> 'NaN'),
    check_limit double precision CHECK (check_limit <> 'NaN'),
    qty bigint NOT NULL,
    price bigint NOT NULL,
    stop bigint NOT NULL,
    target bigint NOT NULL,
    command bigint NOT NULL,
    chaos_kind bigint NOT NULL,
    expansion bigint NOT NULL,
    ignition bigint NOT NULL,
    move_bps double precision CHECK (move_bps <> 'NaN'),
    move_sd_bps double precision CHECK (move_sd_bps <> 'NaN'),
    confidence double precision CHECK (confidence <> 'NaN'),
    capturable double precision CHECK (capturable <> 'NaN'),
    gross_bps double precision CHECK (gross_bps <> 'NaN'),
    fill_prob double precision CHECK (fill_prob <> 'NaN'),
    fill_time_s double precision CHECK (fill_time_s <> 'NaN'),
    fill_method bigint NOT NULL,
    entry_fee_bps double precision CHECK (entry_fee_bps <> 'NaN'),
    exit_fee_bps double precision CHECK (exit_fee_bps <> 'NaN'),
    spread_in_bps double precision CHECK (spread_in_bps <> 'NaN'),
    spread_out_bps double precision CHECK (spread_out_bps <> 'NaN'),
    slip_in_bps double precision CHECK (slip_in_bps <> 'NaN'),
    slip_out_bps double precision CHECK (slip_out_bps <> 'NaN'),
    adverse_bps double precision CHECK (adverse_bps <> 'NaN'),
    latency_bps double precision CHECK (latency_bps <> 'NaN'),
    buffer_bps double precision CHECK (buffer_bps <> 'NaN'),
    cost_bps double precision CHECK (cost_bps <> 'NaN'),
    exit_drag_bps double precision CHECK (exit_drag_bps <> 'NaN'),
    net_bps double precision CHECK (net_bps <> 'NaN'),
    edge_bps_min double precision CHECK (edge_bps_min <> 'NaN'),
    score double precision CHECK (score <> 'NaN'),
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    outcome_name text,
    blocker_name text,
    route_name text,
    runner_up_name text,
    bid_quote numeric CHECK (bid_quote > -1e30 AND bid_quote < 1e30),
    ask_quote numeric CHECK (ask_quote > -1e30 AND ask_quote < 1e30),
    mid_quote numeric CHECK (mid_quote > -1e30 AND mid_quote < 1e30),
    regime_name text,
    verdict_name text,
    check_name text,
    qty_base numeric CHECK (qty_base > -1e30 AND qty_base < 1e30),
    price_quote numeric CHECK (price_quote > -1e30 AND price_quote < 1e30),
    stop_quote numeric CHECK (stop_quote > -1e30 AND stop_quote < 1e30),
    target_quote numeric CHECK (target_quote > -1e30 AND target_quote < 1e30),
    chaos_kind_name text,
    expansion_name text,
    ignition_name text,
    fill_method_name text,
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE recoveries (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    sym bigint NOT NULL,
    recovery bigint NOT NULL,
    order_id bigint NOT NULL,
    value bigint NOT NULL,
    expected bigint NOT NULL,
    state_before bigint NOT NULL,
    state bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    symbol text,
    recovery_name text,
    state_before_name text,
    state_name text,
    PRIMARY KEY (log_id, row_n)
);

CREATE TABLE modes (
    log_id text NOT NULL REFERENCES logs ON DELETE CASCADE,
    row_n bigint NOT NULL CHECK (row_n >= 0),
    seq bigint NOT NULL CHECK (seq >= 0),
    ts bigint NOT NULL CHECK (ts > 0 AND ts < 4611686018427387904),
    mode_before bigint NOT NULL,
    mode bigint NOT NULL,
    asked bigint NOT NULL,
    who bigint NOT NULL,
    why bigint NOT NULL,
    accepted bigint NOT NULL,
    time timestamp with time zone GENERATED ALWAYS AS ((timestamp '1970-01-01' + (nullif(ts, 0) / 1000) * interval '1 microsecond') AT TIME ZONE 'UTC') STORED,
    mode_before_name text,
    mode_name text,
    asked_name text,
    who_name text,
    why_name text,
    PRIMARY KEY (log_id, row_n)
);

-- A second submit of an order, or the same execution twice, cannot be in a log.
CREATE UNIQUE INDEX commands_add ON commands (log_id, id) WHERE kind = 1;
CREATE UNIQUE INDEX fills_execution ON fills (log_id, exec_id) WHERE exec_id <> 0;
CREATE INDEX events_of_order ON events (log_id, id);
CREATE INDEX orders_of_order ON orders (log_id, id);
CREATE INDEX events_by_time ON events (time);
CREATE INDEX fills_by_time ON fills (time);

-- How far each log is mirrored: a report that reads these tables says this with its numbers.
CREATE VIEW progress AS
SELECT DISTINCT ON (log_id) log_id, batch, seq_to, rows_to, committed
FROM batches ORDER BY log_id, batch DESC;

CREATE VIEW order_events AS
SELECT log_id, seq, time, time_venue, kind_name, id AS order_id, symbol, side_name, price_quote,
    qty_base, money_quote AS fee_quote, code_name AS reason_name, aux, flags, ts, ts_venue
FROM events WHERE kind BETWEEN 20 AND 34;

CREATE VIEW balance_events AS
SELECT log_id, seq, time, time_venue, asset, coalesce(qty_base, money_quote) AS balance, ts
FROM events WHERE kind = 35;

CREATE VIEW mode_events AS
SELECT log_id, seq, time, code_name AS mode, CASE id WHEN 0 THEN 'engine' WHEN 1 THEN 'operator' END
    AS who, why_name AS why, ts
FROM events WHERE kind = 40;

CREATE VIEW operator_events AS
SELECT log_id, seq, time, code_name AS action, symbol, aux, ts FROM events WHERE kind = 41;

CREATE VIEW health_events AS
SELECT log_id, seq, time, code_name AS fact, symbol, side_name, price_quote, qty_base, qty, aux, ts
FROM events WHERE kind = 43;

-- Where each order stands: its newest row.
CREATE VIEW orders_now AS
SELECT DISTINCT ON (log_id, id) * FROM orders ORDER BY log_id, id, row_n DESC;

-- Where each position stands: the bot's own inventory, derived from its fills.
CREATE VIEW positions_now AS
SELECT DISTINCT ON (log_id, sym) * FROM positions ORDER BY log_id, sym, row_n DESC;
