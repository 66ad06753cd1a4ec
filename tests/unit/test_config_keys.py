"""Is a key that is unknown, missing or in the wrong table told at its line, with a hint?"""

from __future__ import annotations

import pytest
from config_lines import BACKEND_LINES, SERVICE_LINES, problems_in, with_line

from dsrlb.config.schema import TOP


@pytest.mark.parametrize(
    ("table", "wrong", "says"),
    [
        (TOP.head, "interface", "did you mean interfaces?"),
        (TOP.head, "Interfaces", "did you mean interfaces?"),
        (TOP.head, "services", "did you mean service?"),
        (TOP.head, "backend", "it belongs under [[service]]"),
        (TOP.head, "vip", "it belongs under [[service]]"),
        (TOP.head, "zzz", "there are interfaces, engine"),
        ("[[service]]", "schedular", "did you mean scheduler?"),
        ("[[service]]", "encap-port", "did you mean encap_port?"),
        ("[[service]]", "backends", "did you mean backend?"),
        ("[[service]]", "timeout", "did you mean timeouts?"),
        ("[[service]]", "weight", "it belongs under [[service.backend]]"),
        ("[[service]]", "interfaces", "it belongs under the head of the file"),
        ("[[service]]", "udp", "it belongs under [service.timeouts]"),
        ("[[service.backend]]", "wieght", "did you mean weight?"),
        ("[[service.backend]]", "adress", "did you mean address?"),
        ("[[service.backend]]", "vip", "it belongs under [[service]]"),
        ("[service.timeouts]", "esteblished", "did you mean established?"),
        ("[service.timeouts]", "udp_s", "did you mean udp?"),
    ],
)
def test_an_unknown_key_is_told_with_what_was_meant(table: str, wrong: str, says: str) -> None:
    text, line = with_line(table, f"{wrong} = 1")
    told = problems_in(text)
    assert set(told) == {line}
    assert f"'{wrong}' is no key of" in told[line] and says in told[line]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "service is missing; add [[service]]"),
        ("service = []", 1, "service is a list, and must be tables; write [[service]]"),
        ('[[service]]\nmode = "l2dsr"\n' + BACKEND_LINES, 1, 'vip is missing in [[service]]; add vip = "198'),
        ('\n[[service]]\nvip = "198.18.1.100:80"\n' + BACKEND_LINES, 2, "mode is missing in [[service]]"),
        (SERVICE_LINES, 1, "backend is missing in [[service]]; add [[service.backend]]"),
        (SERVICE_LINES + "[[service.backend]]\nweight = 1", 4, "address is missing in [[service.backend]]"),
        (SERVICE_LINES.replace("[[service]]", "[service]"), 1, "service is a table, and must be tables"),
        (SERVICE_LINES + "backend = [[]]\n", 4, "backend is a list, and must be tables; write [[service.b"),
        (SERVICE_LINES + "[service.backend]\naddress = '198.18.1.11'", 4, "backend is a table, and must be"),
        ("[[service]]\n[[service.backend]]\n", 1, "vip is missing"),
        (
            SERVICE_LINES + "timeouts = 30\n" + BACKEND_LINES,
            4,
            "timeouts is the number 30, and must be a table",
        ),
        (SERVICE_LINES + 'mode_ = "x"\n' + BACKEND_LINES, 4, "did you mean mode?"),
        (SERVICE_LINES.replace("l2dsr", "l2dsrr") + BACKEND_LINES, 3, "did you mean l2dsr?"),
        (SERVICE_LINES + "weight\n" + BACKEND_LINES, 4, "this is not TOML"),
    ],
)
def test_what_is_missing_or_misplaced_is_told_at_the_table(text: str, line: int, says: str) -> None:
    assert says in problems_in(text)[line]
