"""The packaged Grafana dashboard and its generator."""

from __future__ import annotations

import json

from dashboard import layout
from dashboard.panels import ROWS
from tests.support.assets import packaged, panels


def test_the_dashboard_is_current() -> None:
    """The packaged JSON equals what its generator writes."""
    assert packaged("grafana/celery.json") == layout.text()


def test_every_panel_is_described_and_has_a_unit() -> None:
    """Each panel has a unique id, a description, a unit, and the data source of the variable."""
    shown = list(panels(packaged("grafana/celery.json")))
    assert len({panel["id"] for panel in shown}) == len(shown)
    for panel in shown:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_overlap() -> None:
    """No two panels cover the same cell of the grid, and none is wider than it."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(packaged("grafana/celery.json"))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= layout.COLUMNS
        taken |= cells


def test_the_dashboard_has_its_rows_and_variables() -> None:
    """The rows are those of ``ROWS``; the variables are data source, application, task and queue."""
    dashboard = json.loads(packaged("grafana/celery.json"))
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == list(ROWS)
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "job", "task", "queue"]
