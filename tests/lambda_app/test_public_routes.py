"""Test the routes that `PUBLIC_ROUTES` can switch off."""

import pytest
from starlette.testclient import TestClient

from lambda_app.app import create_app
from lambda_app.settings import OPTIONAL_ROUTES, Settings, SettingsError


@pytest.mark.parametrize("public", [(), ("/metrics",), ("/model/info", "/prediction-log"), OPTIONAL_ROUTES])
def test_routes_can_be_switched_off(tiny_classifier, public):
    """A route that is switched off is 404, and neither `GET /` nor the documentation lists it."""
    settings = Settings.from_env({"PUBLIC_ROUTES": ", ".join(public)})
    client = TestClient(create_app(tiny_classifier, settings))
    for path in OPTIONAL_ROUTES:
        status = 200 if path in public else 404
        assert [status, status] == [client.get(path).status_code, client.head(path).status_code]
    missing = client.get("/nowhere").json()["error"]
    documented = client.get("/openapi.json").json()["paths"]
    listed = client.get("/").json()["routes"]
    for path in OPTIONAL_ROUTES:
        there = path in public
        assert [there] * 3 == [path in documented, f"GET {path}" in listed, f"GET {path}" in missing["message"]]
    assert 200 == client.get("/docs").status_code


def test_every_route_is_on_by_default(client):
    """Without the setting, all routes exist."""
    assert [200] * len(OPTIONAL_ROUTES) == [client.get(path).status_code for path in OPTIONAL_ROUTES]


def test_a_route_that_cannot_be_switched_off_is_refused():
    """The start fails with an error that names the variable and the accepted values."""
    with pytest.raises(SettingsError, match=r"PUBLIC_ROUTES is '/health': .*expected some of /metrics,"):
        Settings.from_env({"PUBLIC_ROUTES": "/health"})
