"""Is all that is wrong with a file told at once, each at its line, and nothing twice?"""

from __future__ import annotations

from config_lines import BACKEND_LINES, SERVICE_LINES, problems_in


def test_every_problem_is_told_at_once_each_at_its_line() -> None:
    told = problems_in(
        """interface = "eth0"
[[service]]
name = "web"
vip = "198.18.1.100:80/tcp"
mode = "l2dsr"
snat = true
[[service.backend]]
address = "198.18.1.11"
weight = 0
port = 8080
[[service.backend]]
address = "198.18.1.100"
weight = "2"
[[service]]
name = "web"
vip = "198.18.1.100:80"
mode = "l2dsr"
timeouts.udp = 0
[[service.backend]]
adress = "198.18.1.13"
[[service.backend]]
address = "198.18.1.11"
mac = "02:00:c6:12:01:11"
[[service.backend]]
address = "198.18.1.11"
mac = "02:00:c6:12:01:12"
"""
    )
    expected = {
        1: "did you mean interfaces",
        6: "mode l2dsr does not know snat",
        10: "translates no ports",
        12: "service web: backend 198.18.1.100 is a VIP itself",
        13: "weight is the text '2'",
        15: "name 'web' is given 2 times",
        16: "VIP 198.18.1.100:80/tcp is given 2 times",
        18: "udp is the number 0",
        19: "address is missing",
        20: "did you mean address",
        25: "is listed 2 times",
        26: "02:00:c6:12:01:12 here and 02:00:c6:12:01:11 elsewhere",
    }
    assert set(told) == set(expected)
    for line, words in expected.items():
        assert words in told[line]


def test_a_vip_s_port_and_every_port_go_together_but_no_vip_twice() -> None:
    other = SERVICE_LINES.replace(":80", ":*") + BACKEND_LINES
    assert problems_in(SERVICE_LINES + BACKEND_LINES + other) == {}
    assert set(problems_in(other + other)) == {7}


def test_a_malformed_option_makes_no_second_problem_of_what_depends_on_it() -> None:
    told = problems_in(SERVICE_LINES + "encap = 3\nencap_port = 7\n" + BACKEND_LINES)
    assert "encap gue" not in told[5]
