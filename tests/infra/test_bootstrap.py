"""What an account needs once: roles that reach no further than their environment, a store that keeps to itself."""

import fnmatch
import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from infra.report.publish import NAMESPACE
from tests.sam import ROOT, SAM, Template, as_list, read, run, statements, translated

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not SAM.exists(), reason="SAM CLI is not installed in .venv-sam"),
]

PATH = "infra/aws/bootstrap.yaml"
ENVIRONMENTS = ["dev", "prod"]
OWN = "${!aws:PrincipalTag/stack}"


def resource(name: str) -> Template:
    found: Template = read(PATH)["Resources"][name]
    return found


def properties(name: str) -> Template:
    found: Template = resource(name)["Properties"]
    return found


def deploy_statement(sid: str) -> Template:
    [statement] = [s for s in statements(resource("DeployPolicy")) if s["Sid"] == sid]
    return statement


def config() -> Template:
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


def given(environment: str) -> dict[str, Any]:
    """The template's parameters in one environment."""
    values: dict[str, Any] = yaml.safe_load((ROOT / f"infra/aws/{environment}.yaml").read_text())
    return values


def test_lint() -> None:
    """cfn-lint finds nothing to say."""
    assert not run(SAM.with_name("cfn-lint"), PATH)


@pytest.mark.parametrize(
    ("role", "environment"),
    [
        ("DevRole", "dev"),
        ("ProdRole", "prod"),
        ("TrainRole", "train"),
        ("MonitorRole", "monitor"),
        ("PreviewRole", "preview"),
    ],
)
def test_a_role_is_for_one_environment_of_one_repository(role, environment) -> None:
    """By GitHub's own word, exactly."""
    [trust] = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": {"Fn::Sub": f"repo:${{GitHub}}:environment:{environment}"},
        }
    } == trust["Condition"]


@pytest.mark.parametrize(("role", "environment"), [("DevRole", "dev"), ("ProdRole", "prod")])
def test_a_role_works_on_the_stack_of_its_environment(role, environment) -> None:
    """The one that samconfig.toml deploys there."""
    stack = config()[environment]["global"]["parameters"]["stack_name"]
    assert [{"Key": "stack", "Value": stack}] == properties(role)["Tags"]


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        ("owner/pet-classifier", True),
        ("Owner@1024/pet.classifier@2048", True),
        ("owner", False),
        ("owner/*", False),
        ("owner/pets:environment", False),
    ],
)
def test_the_repository_is_named_as_github_signs_it(subject, allowed) -> None:
    """With the numbers that it puts into the names of newer repositories, or without; never a pattern."""
    assert allowed == bool(re.match(read(PATH)["Parameters"]["GitHub"]["AllowedPattern"], subject))


def test_only_dev_builds_and_only_trainings_reach_the_data() -> None:
    """Prod gets what dev has tested, and a training deploys nothing."""
    policies = {role: properties(f"{role}Role")["ManagedPolicyArns"] for role in ("Dev", "Prod", "Train")}
    assert {
        "Dev": [{"Ref": "DeployPolicy"}, {"Ref": "PushPolicy"}],
        "Prod": [{"Ref": "DeployPolicy"}],
        "Train": [{"Ref": "DataPolicy"}],
    } == policies


def test_whoever_monitors_reads_prods_log_and_publishes_figures() -> None:
    """And no more: not another log, nor a figure under another project's name."""
    assert [{"Ref": "MonitorPolicy"}] == properties("MonitorRole")["ManagedPolicyArns"]
    read_log, publish, _ = statements(resource("MonitorPolicy"))
    stack = config()["prod"]["global"]["parameters"]["stack_name"]
    log = f"arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:/aws/lambda/{stack}:*"
    assert ("logs:FilterLogEvents", {"Fn::Sub": log}) == (read_log["Action"], read_log["Resource"])
    assert ("cloudwatch:PutMetricData", {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}) == (
        publish["Action"],
        publish["Condition"],
    )


def test_failures_reach_the_topic_of_the_alarms() -> None:
    """Which the stack makes, with its owner as the first subscriber; the monitor's role may publish to it alone."""
    notify = statements(resource("MonitorPolicy"))[-1]
    assert ("sns:Publish", {"Ref": "AlarmTopic"}) == (notify["Action"], notify["Resource"])
    assert [{"Protocol": "email", "Endpoint": {"Ref": "Email"}}] == properties("AlarmTopic")["Subscription"]


def test_the_preview_cannot_deploy() -> None:
    """It makes change sets of prod's stack, and has no right to execute one or to touch a resource."""
    [statement] = statements(resource("PreviewPolicy"))
    verbs = ["CreateChangeSet", "DeleteChangeSet", "DescribeChangeSet", "DescribeStacks"]
    assert [f"cloudformation:{verb}" for verb in verbs] == statement["Action"]
    stack = config()["prod"]["global"]["parameters"]["stack_name"]
    assert f":stack/{stack}/*" in statement["Resource"][0]["Fn::Sub"]


def test_the_identity_provider_outlives_the_stack() -> None:
    """An account has a single one of GitHub, which other projects may use."""
    assert {"Retain"} == {resource("Provider")[name] for name in ("DeletionPolicy", "UpdateReplacePolicy")}


def test_a_spent_budget_turns_the_functions_off() -> None:
    """Of Lambda's cost alone, through a topic that only Budgets publishes to."""
    budget = properties("LambdaBudget")
    assert {"Service": ["AWS Lambda"]} == budget["Budget"]["CostFilters"]
    [notification] = budget["NotificationsWithSubscribers"]
    assert ("ACTUAL", 100) == tuple(notification["Notification"][key] for key in ("NotificationType", "Threshold"))
    assert {"SubscriptionType": "SNS", "Address": {"Ref": "BudgetTopic"}} in notification["Subscribers"]
    assert [{"Protocol": "lambda", "Endpoint": {"Fn::GetAtt": ["SwitchOff", "Arn"]}}] == properties("BudgetTopic")[
        "Subscription"
    ]
    [publish] = statements(resource("BudgetTopicPolicy"))
    assert {"Service": "budgets.amazonaws.com"} == publish["Principal"]


def test_a_role_reaches_its_own_stack_alone() -> None:
    """What is not named exactly begins with the stack's name; AWS grants whole lists to read, and saved queries.

    What ties a queue to a function is named at random: the function's name stands in a condition, tags need none.
    """
    exact = {"Image", "DeploymentSpeeds", "EventSourceTags"}
    for statement in statements(resource("DeployPolicy")):
        names = [resource["Fn::Sub"] for resource in as_list(statement["Resource"]) if "Fn::Sub" in resource]
        open_ended = [name for name in names if "*" in name and f"/{OWN}" not in name and f":{OWN}" not in name]
        assert statement["Sid"] in exact or not open_ended
    everything = [s["Sid"] for s in statements(resource("DeployPolicy")) if s["Resource"] == "*"]
    assert ["EventSources", "Lists", "SavedQueries"] == everything
    own = f"arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:{OWN}-*"
    assert {"ArnLike": {"lambda:FunctionArn": {"Fn::Sub": own}}} == deploy_statement("EventSources")["Condition"]
    assert all(re.search(r":Describe", action) for action in deploy_statement("Lists")["Action"])
    assert all(action.endswith("QueryDefinition") for action in deploy_statement("SavedQueries")["Action"])


def test_no_role_can_change_itself() -> None:
    """The deploy roles' names begin with the bootstrap stack's, which no environment's stack begins with."""
    bootstrap = config()["bootstrap"]["global"]["parameters"]["stack_name"]
    stacks = [config()[environment]["global"]["parameters"]["stack_name"] for environment in ENVIRONMENTS]
    assert not [stack for stack in stacks if bootstrap.startswith(f"{stack}-")]


def test_roles_are_made_within_the_boundary() -> None:
    """Whoever may give a role rights has to give it the boundary, and may pass it to Lambda and CodeDeploy alone."""
    bounded = deploy_statement("RightsWithinTheBoundary")
    own = f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:policy/{OWN}-boundary"
    assert {"StringEquals": {"iam:PermissionsBoundary": {"Fn::Sub": own}}} == bounded["Condition"]
    rights = {"iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"}
    assert rights <= set(bounded["Action"])
    assert not rights & set(deploy_statement("Roles")["Action"])
    services = deploy_statement("PassRoles")["Condition"]["StringEquals"]["iam:PassedToService"]
    assert ["codedeploy.amazonaws.com", "lambda.amazonaws.com"] == services


@pytest.mark.parametrize("boundary", ["DevBoundary", "ProdBoundary"])
def test_the_boundary_allows_what_the_stack_asks_for(boundary) -> None:
    """Nothing less, or a right would be missing, and nothing more but traces."""
    roles = [r for r in translated()["Resources"].values() if r["Type"] == "AWS::IAM::Role"]
    asked = {action for role in roles for statement in statements(role) for action in as_list(statement["Action"])}
    allowed = {action for s in statements(resource(boundary)) for action in as_list(s["Action"])}
    assert asked | {"xray:PutTelemetryRecords", "xray:PutTraceSegments"} == allowed


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_gives_its_roles_the_boundary(environment) -> None:
    """Its own, under the name that the bootstrap stack gives it and the deploy role asks for."""
    stack = config()[environment]["global"]["parameters"]["stack_name"]
    assert f"{stack}-boundary" == given(environment)["Boundary"]
    assert properties(f"{environment.title()}Boundary")["ManagedPolicyName"] == given(environment)["Boundary"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_boundary_ends_at_its_stack(environment) -> None:
    """So no role that dev's role makes can touch prod; alarms and photos are read, and traces have no names."""
    named = [
        name["Fn::Sub"]
        for statement in statements(resource(f"{environment.title()}Boundary"))
        for name in as_list(statement["Resource"])
        if not all(re.search(":(Describe|Get|List)[A-Z]", action) for action in as_list(statement["Action"]))
        and name != "*"
    ]
    assert len(named) == 5
    assert all(f"pet-classifier-{environment}" in name for name in named)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_environments_parameters_are_the_templates(environment) -> None:
    """With values that the template allows."""
    parameters = translated()["Parameters"]
    assert given(environment).keys() <= parameters.keys()
    for name, value in given(environment).items():
        assert value in parameters[name].get("AllowedValues", [value])


def test_prod_moves_its_traffic_in_steps() -> None:
    """Dev all at once, for the hook has tested the version there too."""
    assert ("AllAtOnce", True) == (given("dev")["Canary"], given("prod")["Canary"].startswith("Canary10Percent"))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_is_tagged(environment) -> None:
    """CloudFormation gives a stack's tags to all that it makes."""
    assert f"Project=pet-classifier Environment={environment}" == config()[environment]["deploy"]["parameters"]["tags"]


def test_no_account_is_written_down() -> None:
    """Neither in the templates nor in their parameters."""
    files = ["template.yaml", "samconfig.toml", PATH, *(f"infra/aws/{name}.yaml" for name in ENVIRONMENTS)]
    assert not [name for name in files if re.search(r"\b\d{12}\b", (ROOT / name).read_text())]


def test_the_bucket_keeps_to_itself() -> None:
    """Private, encrypted, versioned, only over TLS; what was replaced is forgotten, the rest outlives the stack."""
    bucket = properties("Bucket")
    assert {True} == set(bucket["PublicAccessBlockConfiguration"].values())
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert "AES256" == rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert "Enabled" == bucket["VersioningConfiguration"]["Status"]
    [lifecycle] = bucket["LifecycleConfiguration"]["Rules"]
    assert {"NoncurrentDays": 90} == lifecycle["NoncurrentVersionExpiration"]
    [denied] = statements(resource("BucketPolicy"))
    assert ("Deny", {"Bool": {"aws:SecureTransport": "false"}}) == (denied["Effect"], denied["Condition"])
    assert "Retain" == resource("Bucket")["DeletionPolicy"] == resource("Bucket")["UpdateReplacePolicy"]


def test_the_repository_keeps_what_was_pushed() -> None:
    """A tag never moves, every push is scanned, old images expire, and Lambda pulls for this project's functions."""
    repository = properties("Repository")
    assert ("IMMUTABLE", True) == (
        repository["ImageTagMutability"],
        repository["ImageScanningConfiguration"]["ScanOnPush"],
    )
    [rule] = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert ("imageCountMoreThan", 50) == (rule["selection"]["countType"], rule["selection"]["countNumber"])
    [pull] = repository["RepositoryPolicyText"]["Statement"]
    assert {"Service": "lambda.amazonaws.com"} == pull["Principal"]
    [source] = pull["Condition"]["StringLike"].values()
    function = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:pet-classifier-dev-hook"
    assert fnmatch.fnmatchcase(function, source["Fn::Sub"])


def test_money_is_watched() -> None:
    """An e-mail when the month's budget is nearly spent, and when it looks as if it will be."""
    budget = properties("Budget")
    assert ("COST", "MONTHLY", {"Amount": {"Ref": "MonthlyBudget"}, "Unit": "USD"}) == (
        budget["Budget"]["BudgetType"],
        budget["Budget"]["TimeUnit"],
        budget["Budget"]["BudgetLimit"],
    )
    told = [
        (n["Notification"]["NotificationType"], n["Notification"]["Threshold"], n["Subscribers"][0]["Address"])
        for n in budget["NotificationsWithSubscribers"]
    ]
    assert [("ACTUAL", 80, {"Ref": "Email"}), ("FORECASTED", 100, {"Ref": "Email"})] == told
