"""The SAM template: valid, private unless asked otherwise, and with no right that the function does not use."""

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-sam/bin/sam"
ENVIRONMENT = os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}

pytestmark = pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam")

ALIAS = "ClassifierAliaslive"  # as SAM names it

# In a process of SAM CLI's own environment, which alone has samtranslator. ImageUri is what `sam build` fills in.
TRANSLATE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

template = yaml_parse(Path("template.yaml").read_text())
template["Resources"]["Classifier"]["Properties"]["ImageUri"] = "repository:tag"
print(json.dumps(transform(template, json.loads(sys.argv[1]), SimpleNamespace(load=dict))))
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def translated(**parameters: str) -> dict[str, Any]:
    """The CloudFormation template that SAM makes of ours."""
    done = run(SAM.with_name("python"), "-c", TRANSLATE, json.dumps(parameters))
    template: dict[str, Any] = json.loads(done)
    return template


def resources(kind: str) -> list[dict[str, Any]]:
    return [resource for resource in translated()["Resources"].values() if resource["Type"] == kind]


def properties(kind: str) -> dict[str, Any]:
    """Of the only resource of its kind."""
    [resource] = resources(kind)
    found: dict[str, Any] = resource["Properties"]
    return found


def default(parameter: str) -> Any:
    return translated()["Parameters"][parameter]["Default"]


def test_lint() -> None:
    """`sam validate --lint` finds nothing to say."""
    assert f"{ROOT / 'template.yaml'} is a valid SAM Template" == run(SAM, "validate", "--lint").strip()


def test_url_is_private() -> None:
    """Unless a deployer asks for NONE, only signed requests reach the URL."""
    assert {"Ref": "UrlAuthType"} == properties("AWS::Lambda::Url")["AuthType"]
    assert "AWS_IAM" == default("UrlAuthType")


def test_url_is_of_the_alias() -> None:
    """Which points to the newest published version: the only kind that SnapStart works on."""
    assert {"Ref": ALIAS} == properties("AWS::Lambda::Url")["TargetFunctionArn"]
    assert "live" == properties("AWS::Lambda::Alias")["Name"]


def test_another_release_publishes_another_version() -> None:
    """For parameters alone do not: SAM names the version after the image."""
    versions = [
        [name for name, resource in translated(**given)["Resources"].items() if resource["Type"].endswith("Version")]
        for given in ({}, {"Release": "one"}, {"Release": "two"})
    ]
    assert 3 == len({name for [name] in versions})


def test_snapstart_is_off() -> None:
    """It costs money, so its owner turns it on."""
    assert {"ApplyOn": {"Ref": "SnapStart"}} == properties("AWS::Lambda::Function")["SnapStart"]
    assert "None" == default("SnapStart")


def test_public_url_permissions() -> None:
    """With NONE, and only then, anyone may call the URL, and invoke the function through it and no other way."""
    permissions = resources("AWS::Lambda::Permission")
    granted = {p["Properties"].pop("Action"): p["Properties"] for p in permissions}
    anyone = {"FunctionName": {"Ref": ALIAS}, "Principal": "*"}
    assert {
        "lambda:InvokeFunctionUrl": anyone | {"FunctionUrlAuthType": "NONE"},
        "lambda:InvokeFunction": anyone | {"InvokedViaFunctionUrl": True},
    } == granted
    assert {"IsPublic"} == {p["Condition"] for p in permissions}
    assert {"Fn::Equals": [{"Ref": "UrlAuthType"}, "NONE"]} == translated()["Conditions"]["IsPublic"]


def test_logs_expire() -> None:
    """The function writes to the stack's own log group, whose lines expire."""
    assert {"Ref": "Logs"} == properties("AWS::Lambda::Function")["LoggingConfig"]["LogGroup"]
    assert {"Ref": "LogRetentionDays"} == properties("AWS::Logs::LogGroup")["RetentionInDays"]
    assert 30 == default("LogRetentionDays")


def test_least_privilege() -> None:
    """The function's role may write to its log group and nothing else: no wildcard, no managed policy."""
    role = properties("AWS::IAM::Role")
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert ["logs:CreateLogStream", "logs:PutLogEvents"] == statement["Action"]
    assert {"Fn::GetAtt": ["Logs", "Arn"]} == statement["Resource"]
    assert "ManagedPolicyArns" not in role
    assert "*" not in json.dumps(role)


def test_one_whole_cpu() -> None:
    """The default memory is where Lambda gives one whole vCPU."""
    assert {"Ref": "MemorySize"} == properties("AWS::Lambda::Function")["MemorySize"]
    assert 1769 == default("MemorySize")
