"""What people see of the stack while its programs are obtained."""

from __future__ import annotations

import pytest

from components.shared import releases
from sandbox import overview


@pytest.mark.usefixtures("machine")
def test_one_screen_says_what_will_be_made_in_which_order_and_asks_no_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a chart repository was asked")

    monkeypatch.setattr(releases, "urlopen", refused)
    assert overview.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    components = [line.split()[0] for line in lines if " (" in line and not line.startswith(" ")]
    assert components.index("precheck") < components.index("mesh") < components.index("gateway")
    (route,) = (line for line in lines if line.startswith("bookinfo-route"))
    assert "1 Ingress" in route
    assert route.rstrip().endswith("bookinfo, gateway")
    assert "  kong.admissionWebhook: false" in lines
