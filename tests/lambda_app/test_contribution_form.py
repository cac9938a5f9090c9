"""Test the form of a contributed photo: consent, its settings, its origin and its fields."""

import re

import pytest

from lambda_app.contributions.contributor import check_names
from lambda_app.settings import Settings, SettingsError
from tests.lambda_app.contribution_requests import FORM, PREDICTION_ID, VERSION, contribute, files
from tests.support.uploads import assert_error, form, post


@pytest.mark.parametrize("consent", [{}, {"consent": ""}, {"consent": "false"}, {"consent": "on"}, {"consent": "TRUE"}])
def test_photo_without_consent_is_refused(contributing_client, tmp_path, encode, consent):
    """Only the exact field `consent=true` counts as consent; otherwise nothing is stored."""
    answer = contribute(contributing_client, encode(), {"label": "dog", "request_id": PREDICTION_ID, **consent})
    assert_error(answer, 422, "no_consent", "the form has no consent=true; expected it with a photo")
    assert [] == files(tmp_path)


def test_photo_is_refused_if_contributions_are_off(client, encode):
    """Without the setting, the error states that contributions are off, and what to send instead."""
    message = "contributions are off: this server keeps no photos; send only request_id and label"
    assert_error(contribute(client, encode()), 403, "contributions_off", message)


def test_json_feedback_is_unchanged(contributing_client, client):
    """JSON feedback has the same response with and without contributions."""
    body = {"request_id": PREDICTION_ID, "label": "dog"}
    answers = [each.post("/feedback", json=body).json() for each in (contributing_client, client)]
    assert [body | {"model_version": VERSION}] * 2 == answers


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://testserver"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
    ],
)
def test_form_of_another_site_is_refused(contributing_client, tmp_path, encode, headers):
    """A form from a page of another origin is rejected, and nothing is stored."""
    assert_error(contribute(contributing_client, encode(), headers=headers), 403, "cross_origin")
    assert [] == files(tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "https://proxied.example"},
        {"sec-fetch-site": "none"},
        {"origin": "http://testserver"},
    ],
)
def test_form_of_own_page_is_accepted(contributing_client, encode, headers):
    """The server's page works behind a proxy, and in browsers that do not send `Sec-Fetch-Site`."""
    assert 200 == contribute(contributing_client, encode(), headers=headers).status_code


@pytest.mark.parametrize("value", ["s3://Upper", "s3://a", "s3://bucket/prefix", "/nowhere"])
def test_invalid_location_is_rejected_at_start(value):
    """The error names the variable, its value and the expected values."""
    with pytest.raises(SettingsError, match=rf"CONTRIBUTIONS is '{value}': .*expected s3://BUCKET, an existing folder"):
        Settings.from_env({"CONTRIBUTIONS": value})


@pytest.mark.parametrize("name", ["a/b", "..", "."])
def test_class_name_that_is_no_folder_name_is_rejected_at_start(name):
    """A class name that would change the path of a stored photo is an error."""
    with pytest.raises(SettingsError, match=re.escape(f"the model has the class {name!r}; expected class names that")):
        check_names(("cat", name))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label": "sofa"}, "label is 'sofa'; expected one of cat, dog"),
        ({"label": "x" * 5000}, f"label is '{'x' * 79}; expected one of cat, dog"),
        ({"label": None}, "label: Field required"),
        ({"request_id": "7"}, "request_id: Input should be a valid UUID"),
        ({"label": ["cat", "dog"]}, "the form has several fields 'label'; expected one"),
    ],
)
def test_invalid_field_is_refused(contributing_client, tmp_path, encode, changes, text):
    """The error names the field; nothing is stored."""
    fields = {name: value for name, value in (FORM | changes).items() if value is not None}
    assert_error(contribute(contributing_client, encode(), fields), 422, "bad_field", text)
    assert [] == files(tmp_path)


def test_text_that_is_not_utf8_is_refused(contributing_client):
    """The error names the field."""
    body = form(b"\xff", 'Content-Disposition: form-data; name="label"')
    answer = post(contributing_client, body, path="/feedback")
    assert_error(answer, 422, "bad_field", "the field 'label' is not UTF-8: invalid start byte; expected text")


@pytest.mark.parametrize(
    ("photo", "status", "code"),
    [
        (b"", 400, "no_file"),
        (b"text", 415, "unsupported_image"),
        (b"\xff\xd8\xff" + b"0" * 100, 422, "damaged_image"),
        (bytes(200_000), 413, "too_large"),
    ],
)
def test_contributed_photo_has_limits_of_predictions(contributing_client, tmp_path, photo, status, code):
    """A contributed photo is read with the same limits and rejected with the same errors as in predictions."""
    assert_error(contribute(contributing_client, photo), status, code)
    assert [] == files(tmp_path)


def test_photo_with_too_many_pixels_is_refused(contributing_client, encode):
    """`MAX_IMAGE_PIXELS` applies."""
    assert_error(contribute(contributing_client, encode(size=(1200, 1000))), 413, "too_large")


def test_form_without_photo_is_refused(contributing_client):
    """A form needs the file; the error names the fields that it has."""
    answer = contributing_client.post("/feedback", files={name: (None, value) for name, value in FORM.items()})
    assert_error(answer, 400, "no_file")
