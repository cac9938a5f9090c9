"""The parameters of a deployment: each one is passed every time, so that removing a line takes the setting back."""

import json
import shlex

import boto3
import pytest

from infra.aws.parameters import DEPLOYMENT, load_parameters
from infra.smoke import url
from infra.smoke.messages import NoAnswer
from tests.sam import IMAGE, REGION, SAM, run, translated

ENVIRONMENTS = ["dev", "prod"]
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
needs_sam = pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam")


def sent(environment):
    """Return the parameters of a deployment, by SAM CLI's own code and the options in the Makefile."""
    options = ("-n", "--no-print-directory", "-o", ".venv-sam/.installed", "-o", ".venv/.serve")
    recipe = run("make", *options, "deploy", f"ENV={environment}", f"IMAGE_URI={IMAGE}", f"COMMIT={'c' * 40}")
    command = recipe.replace("\\\n", " ").partition("--parameter-overrides ")[2]
    return json.loads(run(SAM.with_name("python"), "-c", SENT, *shlex.split(command)))


@pytest.mark.process
@needs_sam
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_deployment_passes_every_parameter(environment):
    """CloudFormation never falls back to the value of the deployment before."""
    assert [] == [given["ParameterKey"] for given in sent(environment) if "ParameterValue" not in given]


@pytest.mark.process
@needs_sam
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_smoke_test_expects_what_sam_sends(environment):
    """Our reading of the parameter files is the one of SAM CLI."""
    values = {given["ParameterKey"]: given["ParameterValue"] for given in sent(environment)}
    assert load_parameters(environment).items() <= values.items()


@pytest.mark.process
@needs_sam
def test_defaults_are_the_templates():
    """The file repeats the template's defaults, which SAM CLI does not send."""
    parameters = translated()["Parameters"]
    expected = {name: str(found["Default"]) for name, found in parameters.items() if name not in DEPLOYMENT}
    assert expected == load_parameters("defaults")


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


def test_settings_as_in_the_file_pass(deployed):
    """A private URL without CORS and without a reserve is what dev's file says."""
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
def test_settings_that_differ_from_the_file_fail(deployed, applied, field):
    """A URL that stayed public, an old site in CORS, or a function that is off is found out."""
    deployed(**applied)
    expected, actual = url.compare_settings("dev")
    assert [field] == [name for name in expected if expected[name] != actual[name]]


def test_settings_without_a_stack_are_no_answer(aws):
    """The error names the stack and its region."""
    with pytest.raises(NoAnswer, match=r"^stack pet-classifier-dev in eu-central-1: expected a deployed stack"):
        url.compare_settings("dev")
