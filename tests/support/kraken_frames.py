"""One frame of every kind that Kraken sends, ids and amounts made up; shapes as docs/kraken-protocol.md."""

from __future__ import annotations

T = "2026-01-05T10:00:00.637700Z"
T9 = "2026-01-05T10:00:01.541105556Z"
TIMES = f'"time_in":"{T}","time_out":"{T}"'

STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
    b'"api_version":"v2","connection_id":12393906104898154338}]}'
)
STATUS_2026 = (
    '{"channel":"status","type":"update","data":[{"version":"2.1.0","system":"post_only",'
    '"api_version":"v2","connection_id":7,"upcoming_maintenance":[{"event_id":"m1","title":"t",'
    f'"expected_start_utc":"{T}","expected_end_utc":"{T}","time_to_start_s":3600,'
    '"phase":"imminent_5m","affected_services":["spot_ws","all"],'
    '"order_submission":"discouraged","recommended_action":"cancel_open_orders",'
    f'"cancel_before_utc":"{T}","source_url":"u"}}],"emergency":[{{"event_id":"e1","title":"t",'
    '"incident_status":"investigating","impact":"major","affected_services":["spot_trading"],'
    f'"started_at_utc":"{T}","next_steps":[{{"applies_to":"all","type":"wait"}}]}}]}}]}}'
).encode()
HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = f'{{"method":"pong","req_id":101,{TIMES}}}'.encode()
INSTRUMENT = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[{"id":"USD","status":"enabled",'
    b'"precision":4,"precision_display":2,"borrowable":true,"collateral_value":1.00,'
    b'"margin_rate":0.025000}],"pairs":[{"symbol":"BTC/USD","base":"BTC","quote":"USD",'
    b'"status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,'
    b'"price_increment":0.1,"tick_size":0.1,"cost_precision":5,"cost_min":0.5,"qty_min":0.00005,'
    b'"marginable":true,"margin_initial":0.10,"position_limit_long":300,'
    b'"position_limit_short":240,"has_index":true}]}}'
)
BOOK_SNAPSHOT = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":['
    b'{"price":45283.5,"qty":0.10000000},{"price":45283.4,"qty":1.54582015}],'
    b'"asks":[{"price":45285.2,"qty":0.00100000}],"checksum":2892435853}]}'
)
BOOK_UPDATE = (
    '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":['
    '{"price":45283.5,"qty":0.00000000}],"asks":[],"checksum":1818111995,'
    f'"timestamp":"{T}"}}]}}'
).encode()
TRADE = (
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell",'
    '"price":89410.0,"qty":0.09482500,"ord_type":"limit","trade_id":75666635,'
    f'"timestamp":"{T}"}},{{"symbol":"BTC/USD","side":"buy","price":89410.1,"qty":0.00000001,'
    f'"ord_type":"market","trade_id":75666636,"timestamp":"{T}"}}]}}'
).encode()
TICKER = (
    b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":65972.8,'
    b'"bid_qty":0.10000000,"ask":65972.9,"ask_qty":39.67506683,"last":65972.9,'
    b'"volume":4216.61829370,"vwap":64275.25,"low":61325.4,"high":66450.0,"change":4412.1,'
    b'"change_pct":7.17}]}'
)
OHLC = (
    f'{{"channel":"ohlc","type":"update","timestamp":"{T9}","data":[{{"symbol":"ETH/USD",'
    '"open":3027.80,"high":3027.80,"low":3026.13,"close":3026.13,"trades":9,'
    '"volume":13.31603062,"vwap":3027.01,"interval_begin":"2026-01-05T10:00:00.000000000Z",'
    f'"interval":1,"timestamp":"{T}"}}]}}'
).encode()
LEVEL3_SNAPSHOT = (
    '{"channel":"level3","type":"snapshot","data":[{"symbol":"BTC/USD","checksum":1361442827,'
    '"bids":[{"order_id":"OAAAAA-BBBBB-CCCCCC","limit_price":66579.2,"order_qty":1.35137590,'
    f'"timestamp":"{T9}"}}],"asks":[{{"order_id":"ODDDDD-EEEEE-FFFFFF","limit_price":66579.3,'
    f'"order_qty":0.07800000,"timestamp":"{T9}"}}],"timestamp":"{T9}"}}]}}'
).encode()
LEVEL3_UPDATE = (
    '{"channel":"level3","type":"update","data":[{"checksum":1234567890,"symbol":"BTC/USD",'
    f'"timestamp":"{T9}","bids":[{{"event":"delete","order_id":"OAAAAA-BBBBB-CCCCCC",'
    f'"limit_price":66579.2,"order_qty":0.22540000,"timestamp":"{T9}"}},{{"event":"add",'
    '"order_id":"OGGGGG-HHHHH-IIIIII","limit_price":66560.9,"order_qty":2.80000000,'
    f'"timestamp":"{T9}"}},{{"event":"modify","order_id":"OGGGGG-HHHHH-IIIIII",'
    f'"limit_price":66560.9,"order_qty":2.70000000,"timestamp":"{T9}"}}],"asks":[]}}]}}'
).encode()
PENDING_NEW = (
    '{"channel":"executions","type":"update","data":[{"order_id":"OAAAAA-BBBBB-CCCCCC",'
    '"symbol":"BTC/USD","order_qty":0.00010000,"cum_cost":0.00000,"time_in_force":"GTC",'
    '"exec_type":"pending_new","side":"buy","order_type":"limit","cl_ord_id":"arb-00001",'
    '"limit_price_type":"static","limit_price":8000.0,"stop_price":0.0,'
    '"order_status":"pending_new","fee_usd_equiv":0.0000,"fee_ccy_pref":"fciq",'
    f'"timestamp":"{T}"}}],"sequence":2}}'
).encode()
FILL = (
    '{"channel":"executions","type":"update","data":[{"order_id":"OAAAAA-BBBBB-CCCCCC",'
    '"order_userref":0,"exec_id":"TAAAAA-BBBBB-CCCCCC","exec_type":"trade","trade_id":37496584,'
    '"symbol":"BTC/USD","side":"sell","last_qty":0.00016000,"last_price":63377.2,'
    '"liquidity_ind":"t","cost":10.12445,"order_status":"partially_filled",'
    f'"order_type":"limit","timestamp":"{T}","fee_usd_equiv":0.04050,'
    '"fees":[{"asset":"USD","qty":0.04051}],"triggers":{"reference":"last","price":58500.0,'
    f'"status":"triggered","timestamp":"{T}"}},"contingent":{{"order_type":"limit"}}}}],'
    '"sequence":3}'
).encode()
EXECUTIONS_EMPTY = b'{"channel":"executions","type":"snapshot","data":[],"sequence":1}'
BALANCES_SNAPSHOT = (
    b'{"channel":"balances","type":"snapshot","data":[{"asset":"USD","asset_class":"currency",'
    b'"balance":160.2405,"wallets":[{"type":"spot","id":"main","balance":160.2405}]},'
    b'{"asset":"KAR","asset_class":"currency","balance":774.6366982600,"wallets":[]}],'
    b'"sequence":1}'
)
LEDGER_ENTRY = (
    '{"channel":"balances","type":"update","data":[{"ledger_id":"LAAAAA-BBBBB-CCCCCC",'
    f'"ref_id":"TAAAAA-BBBBB-CCCCCC","timestamp":"{T}","type":"trade","asset":"USD",'
    '"asset_class":"currency","category":"trade","wallet_type":"spot","wallet_id":"main",'
    '"amount":-19.9743,"fee":0.0499,"balance":118.0677}],"sequence":4}'
).encode()
SUBSCRIBED = (
    '{"method":"subscribe","req_id":7,"result":{"channel":"book","depth":25,"snapshot":true,'
    f'"symbol":"BTC/USD","warnings":["old"]}},"success":true,{TIMES}}}'
).encode()
NOT_SUBSCRIBED = (
    '{"method":"subscribe","req_id":7,"error":"Currency pair not supported XXX/USD",'
    f'"success":false,"symbol":"XXX/USD",{TIMES}}}'
).encode()
MALFORMED_REQUEST = (
    f'{{"error":"Malformed request","method":"error","success":false,{TIMES}}}'.encode()
)
ORDER_ADDED = (
    '{"method":"add_order","req_id":11,"result":{"order_id":"OAAAAA-BBBBB-CCCCCC",'
    f'"cl_ord_id":"arb-00001"}},"success":true,{TIMES}}}'
).encode()
BATCH_ADDED = (
    '{"method":"batch_add","req_id":12,"result":[{"order_id":"OAAAAA-BBBBB-CCCCCC"},'
    f'{{"order_id":"ODDDDD-EEEEE-FFFFFF"}}],"success":true,{TIMES}}}'
).encode()
BATCH_CANCELLED = (
    f'{{"method":"batch_cancel","req_id":13,"orders_cancelled":2,"success":true,{TIMES}}}'.encode()
)
SWITCH_SET = (
    '{"method":"cancel_all_orders_after","req_id":14,"result":{"currentTime":'
    '"2026-01-05T10:00:20Z","triggerTime":"2026-01-05T10:01:20Z"},"success":true,'
    f"{TIMES}}}"
).encode()

EVERY_FRAME = (
    *(STATUS, STATUS_2026, HEARTBEAT, PONG, INSTRUMENT, BOOK_SNAPSHOT, BOOK_UPDATE, TRADE, TICKER),
    *(OHLC, LEVEL3_SNAPSHOT, LEVEL3_UPDATE, PENDING_NEW, FILL, EXECUTIONS_EMPTY),
    *(BALANCES_SNAPSHOT, LEDGER_ENTRY, SUBSCRIBED, NOT_SUBSCRIBED, MALFORMED_REQUEST),
    *(ORDER_ADDED, BATCH_ADDED, BATCH_CANCELLED, SWITCH_SET),
)
