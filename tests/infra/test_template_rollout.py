"""Test the SAM template's rollout: versions, the hook, and the shift of traffic."""

import re

import pytest

from tests.support.sam import (
    ALIAS_RESOURCE,
    IMAGE,
    MAKE,
    OTHER_IMAGE,
    as_list,
    properties,
    run,
    statements,
    translated,
    version_id,
)

pytestmark = pytest.mark.sam


def test_new_image_publishes_version() -> None:
    """A new digest publishes a version, even if nothing else changes."""
    assert version_id(ImageUri=IMAGE) == version_id()
    assert version_id(ImageUri=OTHER_IMAGE) != version_id()


def test_new_release_publishes_version() -> None:
    """A new release publishes a version; changed parameters alone do not."""
    assert version_id(MemorySize="2048") == version_id()
    assert 3 == len({version_id(), version_id(Release="one"), version_id(Release="two")})


def test_make_deploy_passes_new_release() -> None:
    """`make deploy` passes the date and time as Release, which then decides alone whether a version is published."""
    assert version_id(ImageUri=OTHER_IMAGE, Release="one") == version_id(Release="one")
    command = run(*MAKE, "-n", "deploy", "ENV=dev", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}")
    assert re.search(r'Release="\d{10}"', command)


def test_function_and_hook_get_image() -> None:
    """Function and hook get the image as a variable; the commit is part of the image."""
    for function in ("Classifier", "Hook"):
        variables = properties(function)["Environment"]["Variables"]
        assert ({"Ref": "ImageUri"}, False) == (variables["IMAGE"], "COMMIT" in variables)


def test_hook_tests_new_version() -> None:
    """The hook runs the same image with another command, before the alias moves."""
    hook = properties("Hook")
    assert ({"ImageUri": {"Ref": "ImageUri"}}, ["infra.smoke.hook.handler"]) == (
        hook["Code"],
        hook["ImageConfig"]["Command"],
    )
    assert {"Ref": version_id()} == hook["Environment"]["Variables"]["NewVersion"]
    assert {
        "ApplicationName": {"Ref": "ServerlessDeploymentApplication"},
        "DeploymentGroupName": {"Ref": "ClassifierDeploymentGroup"},
        "BeforeAllowTrafficHook": {"Ref": "Hook"},
    } == translated()["Resources"][ALIAS_RESOURCE]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]


def test_traffic_shifts_as_configured() -> None:
    """Traffic shifts all at once by default, and gradually if Canary says so."""
    speeds = [
        properties("ClassifierDeploymentGroup", **given)["DeploymentConfigName"]["Fn::Sub"]
        for given in ({}, {"Canary": "Canary10Percent5Minutes"})
    ]
    name = "CodeDeployDefault.Lambda${ConfigName}"
    assert [[name, {"ConfigName": "AllAtOnce"}], [name, {"ConfigName": "Canary10Percent5Minutes"}]] == speeds


def test_hook_can_invoke_only_new_version() -> None:
    """The hook can invoke neither another version nor the alias."""
    [invoke] = [s for s in statements(translated()["Resources"]["HookRole"]) if s["Action"] == "lambda:InvokeFunction"]
    assert {"Ref": version_id()} == invoke["Resource"]


def test_batch_is_updated_after_canary() -> None:
    """The batch's update waits for the alias, and so for hook and canary."""
    batch = translated()["Resources"]["Batch"]
    assert ALIAS_RESOURCE in as_list(batch["DependsOn"])


def test_versions_have_commit_as_description() -> None:
    """A version's description is its commit, which `make back` reads."""
    assert {"Ref": "Commit"} == properties(version_id())["Description"]
