"""Is a wrong value of any key told at its line, and is the example of each key right?"""

from __future__ import annotations

import pytest
from config_lines import problems_in, with_line

from dsrlb.config.keys import Kind
from dsrlb.config.schema import TABLES

WRONG = {
    "interfaces": ['"eth0"', "[1]", "[[]]", '[""]', "true", '{ a = "eth0" }', '["eth0", 2]'],
    "engine": ["1", '"kernel"', "true", '["xdp"]'],
    "max_flows": ["999", "100000001", '"1000"', "1e6", "true"],
    "max_new_flows": ["0", "-1", '"20000"', "1.5"],
    "xdp_mode": ["1", '"driver"', "true"],
    "state_dir": ["1", '""', '"var/lib"', '"~/x"', '"/a\\nb"'],
    "instance": ["1", '""', '"a.b"', '"a/b"', "[]"],
    "on_exit": ["1", '"stay"', "false"],
    "metrics": ["true", "0", "65536", "1.5", "[]", '"x"', '":9311"', '"::1:9311"'],
    "service": ["1", "[1]", '"web"', "{}"],
    "name": ["1", '""', '"a b"', '["web"]', '"ü"', '"a\\nb"'],
    "vip": ["80", '""', '"198.18.1.100"', '"198.18.1.100:0"', "198.1", '["198.18.1.1:80"]', '"224.0.0.1:1"'],
    "mode": ["2", '"l3"', '""', "true", "[]"],
    "scheduler": ["1", '"lottery"', "false"],
    "persist": ["0", "-1", "true", "1.5", '"300/0"', '"300/33"', '"x"', "2678401", "[300]", "12:00:00"],
    "encap": ["1", '"gre"', "true"],
    "encap_port": ["0", "65536", '"6080"', "true", "1.0"],
    "source": ["1", '"::"', '"host"', '"198.18.1.10/24"'],
    "clamp_mss": ["1", '"yes"', "[]", "1979-05-27"],
    "snat": ["0", '"true"', "{}"],
    "on_all_down": ["1", '"wait"', "true", '["keep"]'],
    "slow_start": ["0", "-1", "3601", '"30"', "30.0", "true"],
    "passive": ["1", '"yes"', "[]"],
    "timeouts": ["30", '"30"', "[30]", "[{ udp = 3 }]"],
    "udp": ["0", "-1", "2678401", '"30"', "30.0", "true", "inf"],
    "backend": ["1", '["198.18.1.11"]', "{ address = '198.18.1.11' }", "[]"],
    "address": ["1", '""', '"rs1"', '"198.18.1.11:80"', '"127.0.0.1"', "[]"],
    "port": ["0", "65536", "-1", '"80"', "80.0", "true"],
    "weight": ["-1", "65536", '"2"', "1.5", "true", "nan"],
    "check": ["1", '"tcp"', "[]", '[{ kind = "tcp" }]'],
    "kind": ["1", '"tpc"', "true", '["tcp"]'],
    "interval": ["0", "0.005", "3601", '"1"', "true", "nan", "inf"],
    "rise": ["0", "101", "1.5", '"2"', "true"],
    "jitter": ["-0.1", "0.6", '"0.1"', "true", "nan"],
    "send": ["1", '"hex:0"', '"hex:xy"', "[]"],
    "verify": ["1", '"true"', "[]"],
    "path": ["1", '""', '"health"', '"/a b"', '"/ü"', '"/a\r\nX: y"'],
    "host": ["1", '""', '"a b"', '"a\r\nX: y"'],
    "headers": ["1", '"X: y"', "{ X = 1 }", '{ "X Y" = "z" }', '{ X = "a\nb" }'],
    "status": ["true", '"ok"', "99", "600", "[]", '"299-200"', "[200.0]", '["200", true]'],
    "body": ["1", "[]"],
    "query": ["1", '""', '"a..b"', '"ü.example"', f'"{"a" * 64}.com"'],
    "query_type": ["1", '"B"', "28"],
    "rcode": ["0", '"OK"', "true"],
    "command": ["1", '"ls -l"', "[]", '[""]', "[1]"],
    "mac": ["1", '"02:00"', '"ff:ff:ff:ff:ff:ff"', "[]"],
    "proxy": ["1", '"layer"', "[]", "[{ layer = 7 }]"],
    "layer": ["5", '"7"', "true", "7.5"],
    "accept_proxy": ["1", '"v2"', "[]"],
    "send_proxy": ["1", '"v3"', "true"],
    "connect_timeout": ["0", "601", '"5"', "true", "nan"],
    "idle_timeout": ["0.5", "86401", '"5"', "true"],
    "tunnel_timeout": ["0.5", "604801", '"5"', "true"],
    "certificates": ["1", "[]", '""', '"www.pem"', '"/a\nb"', '["/a", 1]', f'"/{"a" * 500}"', '["a.pem"]'],
    "client_ca": ["1", '""', '"ca.pem"', '"/a\tb"', '["/a.pem"]'],
    "client_certificate": ["1", '"maybe"', "true"],
    "server_tls": ["1", '"yes"'],
    "server_name": ["1", '""', '"a b"', '"a)b"', '"*.example.com"', '"a..b"'],
    "server_protocol": ["2", '"http/2"'],
    "forwarded": ["1", '"yes"', "true"],
    "sticky": ["1", '""', '"a b"', '"a;b"', '"a=b"', "true"],
    "retries": ["-1", "11", '"3"', "true"],
    "redirect": ["1", '""', '"http"', '"/x"', '"ftp://a"', '"https://"', '"https://a b"', '"https://a:x"'],
    "route": ["1", '["/api"]', "{ path = '/api' }", "[]"],
    "pattern": ["1", '""', '"("', '"[a"', '"*"', "'\\u0041'", '"ü"', '"a\nb"', '"(?L)a"', '"a{,3}"'],
    "header": ["1", '""', '"X Y: 1"', '"X:"', '"X: a\nb"', '": x"', '"X(y"'],
    "method": ["1", '""', '"get"', '"GET POST"', "[]", '["GET", 1]'],
    "group": ["1", '""', '"a b"', '"a:b"', "[]", "[1]"],
    "max_connections": ["0", "1000001", '"5"', "true"],
    "limits": ["1", '"5/1"', "[]", "[{ connections = 5 }]"],
    "requests": ["100", '""', '"0/10"', '"10/0"', '"10/86401"', '"1000001/10"', '"5/s"', '"-5/1"', "true"],
    "prefix4": ["0", "33", '"24"', "true"],
    "prefix6": ["0", "129", '"48"', "true"],
    "header_timeout": ["0", "601", '"5"', "true", "nan"],
    "max_body": ["0", "1099511627777", '"1k"', "true"],
    "max_headers": ["255", "15361", '"1k"', "true"],
    "allow": ["1", '"198.18.0.0/16"', '["x"]', "[1]", '["198.18.0.1/16"]', '["2001:db8::/129"]'],
    "answer": ["429", '"no"', "true"],
}  # fmt: skip
ALIKE = {"syn": "udp", "established": "udp", "fin": "udp", "closed": "udp"}
ALIKE |= {"timeout": "interval", "fast_interval": "interval", "fall": "rise", "expect": "send", "sni": "host"}
ALIKE |= {"direct": "snat"}
ALIKE |= {"new_connections": "requests", "connections": "max_connections", "queue": "max_connections"}
ALIKE |= {"body_timeout": "header_timeout", "queue_timeout": "header_timeout"}
ALIKE |= {"deny": "allow", "shadow": "snat"}
ALIKE |= {"server_ca": "client_ca", "trust_forwarded": "accept_proxy", "transparent": "accept_proxy"}


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        (table.head, key.name, value)
        for table in TABLES
        for key in table.keys
        for value in WRONG[ALIKE.get(key.name, key.name)]
    ],
)
def test_a_wrong_value_of_every_key_is_told_at_its_line(table: str, name: str, value: str) -> None:
    text, line = with_line(table, f"{name} = {value}")
    told = problems_in(text)
    assert set(told) == {line}, (text, told)
    assert len(told[line]) < 400


def test_every_key_takes_its_example() -> None:
    for table in TABLES:
        for key in table.keys:
            if isinstance(key.takes, Kind):
                text, line = with_line(table.head, f"{key.name} = {key.takes.example}")
                told = problems_in(text)  # that the mode does not know a key is no matter of its value
                assert "must be" not in told.get(line, "") and set(told) <= {line}, (text, told)
