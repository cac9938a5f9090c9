"""Smoke test of a deployment: is it healthy, is it the version just deployed, and does it answer correctly?

`python -m infra.smoke URL` runs it over HTTP; `infra.smoke.hook` runs it through Lambda's Invoke API.
"""
