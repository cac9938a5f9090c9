"""Test that a deployment is healthy, is the version just deployed, and answers correctly.

`python -m infra.smoke URL` runs it over HTTP; `infra.smoke.hook` runs it through Lambda's Invoke API.
"""
