"""Test a deployment's parameters: each one is passed every time, so that removing a line restores the default."""

import json
import shlex

import boto3
import pytest

from infra.aws.stack import ENVIRONMENTS, load_parameters
from infra.smoke import url
from infra.smoke.messages import NoAnswer
from tests.support.sam import IMAGE, MAKE, REGION, SAM, run, translated

DEPLOYMENT = {"ImageUri", "Commit", "Release", "PreviousVersion"}  # each deployment sets these, so no file has them
ROLE = {
    "RoleName": "role",
    "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": []}),
}
# What SAM CLI itself sends to CloudFormation for the options of `make deploy`.
SENT = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.deploy.deploy_context import DeployContext
from samcli.yamlhelper import yaml_parse

overrides = CfnParameterOverridesType().convert(sys.argv[1:], None, None)
print(json.dumps(DeployContext.merge_parameters(yaml_parse(open("template.yaml").read()), overrides)))
"""


def sent(environment):
    """Return the parameters of a deployment, by SAM CLI's own code and the options in the Makefile."""
    options = ("-n", "--no-print-directory", f"ENV={environment}", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}")
    recipe = run(*MAKE, "deploy", *options)
    command = recipe.replace("\\\n", " ").partition("--parameter-overrides ")[2]
    return json.loads(run(SAM.with_name("python"), "-c", SENT, *shlex.split(command)))


@pytest.mark.sam
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_deployment_passes_every_parameter(environment):
    """No parameter keeps the value of the previous deployment."""
    assert [] == [given["ParameterKey"] for given in sent(environment) if "ParameterValue" not in given]


@pytest.mark.sam
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_load_parameters_matches_sam(environment):
    """`load_parameters` returns the values that SAM CLI sends."""
    values = {given["ParameterKey"]: given["ParameterValue"] for given in sent(environment)}
    assert load_parameters(environment).items() <= values.items()


@pytest.mark.sam
def test_defaults_match_template():
    """defaults.yaml repeats the template's defaults, which SAM CLI does not send."""
    parameters = translated()["Parameters"]
    expected = {name: str(found["Default"]) for name, found in parameters.items() if name not in DEPLOYMENT}
    assert expected == load_parameters("defaults")


@pytest.mark.sam
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameters_of_environment_fit_template(environment):
    """The template has the environment's parameters and allows their values."""
    parameters, values = translated()["Parameters"], load_parameters(environment)
    assert values.keys() <= parameters.keys()
    for name, value in values.items():
        assert value in map(str, parameters[name].get("AllowedValues", [value]))


def test_prod_shifts_traffic_gradually():
    """Prod uses a canary; dev shifts all traffic at once."""
    dev, prod = (load_parameters(environment)["Canary"] for environment in ENVIRONMENTS)
    assert ("AllAtOnce", True) == (dev, prod.startswith("Canary10Percent"))


@pytest.fixture
def deployed(aws, monkeypatch):
    """Return a function that makes a stack whose URL has these settings, in moto."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    role = boto3.client("iam").create_role(**ROLE)["Role"]["Arn"]
    client = boto3.client("lambda")
    image = {"ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pets:latest"}
    template = {
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"FunctionName": {"Value": "classifier"}},
    }
    boto3.client("cloudformation").create_stack(StackName="pet-classifier-dev", TemplateBody=json.dumps(template))
    client.create_function(FunctionName="classifier", Role=role, PackageType="Image", Code=image)

    def deploy(auth="AWS_IAM", origins=(), reserved=None):
        client.create_function_url_config(FunctionName="classifier", AuthType=auth, Cors={"AllowOrigins": [*origins]})
        if reserved is not None:
            client.put_function_concurrency(FunctionName="classifier", ReservedConcurrentExecutions=reserved)

    return deploy


def test_configured_settings_pass(deployed):
    """A private URL without CORS and reserved concurrency matches dev's file."""
    deployed()
    expected, actual = url.compare_settings("dev")
    assert expected == actual


@pytest.mark.parametrize(
    ("applied", "field"),
    [
        ({"auth": "NONE"}, "auth"),
        ({"origins": ["https://example.org"]}, "cors"),
        ({"reserved": 0}, "reserved_concurrency"),
    ],
)
def test_different_settings_fail(deployed, applied, field):
    """A public URL, another CORS origin and a function that is off are detected."""
    deployed(**applied)
    expected, actual = url.compare_settings("dev")
    assert [field] == [name for name in expected if expected[name] != actual[name]]


def test_settings_without_stack_raise(aws):
    """Without a stack, the error names the stack and its region."""
    with pytest.raises(NoAnswer, match=r"^stack pet-classifier-dev in eu-central-1: expected a deployed stack"):
        url.compare_settings("dev")
