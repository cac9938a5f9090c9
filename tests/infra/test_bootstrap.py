"""Test the bootstrap stack: roles restricted to their environment, and a private bucket."""

import fnmatch
import json
import re
import tomllib

import pytest

from infra.aws.stack import ENVIRONMENTS, load_parameters
from lambda_app.telemetry.fields import NAMESPACE
from tests.support import ROOT
from tests.support.sam import Template, as_list, read, statements, translated

pytestmark = pytest.mark.sam

PATH = "infra/aws/bootstrap.yaml"
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


def stack_name(environment: str) -> str:
    name: str = config()[environment]["global"]["parameters"]["stack_name"]
    return name


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
def test_role_trusts_one_environment_of_one_repository(role, environment) -> None:
    """A role trusts exactly the subject that GitHub's token has for its environment."""
    [trust] = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert {
        "StringEquals": {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": {"Fn::Sub": f"repo:${{GitHub}}:environment:{environment}"},
        }
    } == trust["Condition"]


@pytest.mark.parametrize(("role", "environment"), [("DevRole", "dev"), ("ProdRole", "prod")])
def test_role_is_tagged_with_stack_of_environment(role, environment) -> None:
    """The role's tag names the stack that samconfig.toml deploys to its environment."""
    assert [{"Key": "stack", "Value": stack_name(environment)}] == properties(role)["Tags"]


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
def test_github_parameter_accepts_subjects_of_tokens(subject, allowed) -> None:
    """The parameter accepts names with or without GitHub's numeric IDs, but no pattern."""
    assert allowed == bool(re.match(read(PATH)["Parameters"]["GitHub"]["AllowedPattern"], subject))


def test_roles_have_separate_policies() -> None:
    """Only dev pushes images, and only trainings access the data."""
    policies = {role: properties(f"{role}Role")["ManagedPolicyArns"] for role in ("Dev", "Prod", "Train")}
    assert {
        "Dev": [{"Ref": "DeployPolicy"}, {"Ref": "PushPolicy"}],
        "Prod": [{"Ref": "DeployPolicy"}],
        "Train": [{"Ref": "DataPolicy"}],
    } == policies


def test_monitor_role_reads_log_and_publishes_metrics() -> None:
    """The monitor role can read only prod's log and publish only this project's metrics."""
    assert [{"Ref": "MonitorPolicy"}] == properties("MonitorRole")["ManagedPolicyArns"]
    read_log, publish, _ = statements(resource("MonitorPolicy"))
    group = f"/aws/lambda/{stack_name('prod')}"
    log = f"arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:{group}:*"
    assert ("logs:FilterLogEvents", {"Fn::Sub": log}) == (read_log["Action"], read_log["Resource"])
    assert ("cloudwatch:PutMetricData", {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}) == (
        publish["Action"],
        publish["Condition"],
    )


def test_monitor_role_publishes_to_alarm_topic() -> None:
    """The owner subscribes to the alarm topic, to which the monitor role can publish."""
    notify = statements(resource("MonitorPolicy"))[-1]
    assert ("sns:Publish", {"Ref": "AlarmTopic"}) == (notify["Action"], notify["Resource"])
    assert [{"Protocol": "email", "Endpoint": {"Ref": "Email"}}] == properties("AlarmTopic")["Subscription"]


def test_preview_role_accesses_only_stack_of_prod() -> None:
    """The preview role can access prod's stack, and otherwise only the transform of SAM."""
    [statement] = statements(resource("PreviewPolicy"))
    stack, transform = (name["Fn::Sub"] for name in statement["Resource"])
    assert stack.endswith(f":stack/{stack_name('prod')}/*")
    assert transform.endswith(":aws:transform/Serverless-2016-10-31")


def test_identity_provider_is_retained() -> None:
    """Deleting the stack retains the identity provider, which other projects may use."""
    assert {"Retain"} == {resource("Provider")[name] for name in ("DeletionPolicy", "UpdateReplacePolicy")}


def test_budget_turns_functions_off() -> None:
    """The budget for Lambda invokes the switch through a topic to which only AWS Budgets can publish."""
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


def test_role_can_access_only_its_stack() -> None:
    """Resources are exact or start with the stack's name, except read-only lists and saved queries.

    An event source mapping has a random ID: a condition on the function's name restricts it, except its tags.
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


def test_roles_cannot_change_themselves() -> None:
    """The deploy roles' names do not start with the name of an environment's stack."""
    stacks = map(stack_name, ENVIRONMENTS)
    assert not [stack for stack in stacks if stack_name("bootstrap").startswith(f"{stack}-")]


def test_created_roles_require_boundary() -> None:
    """A deploy role can create only roles with the boundary, and pass them only to Lambda and CodeDeploy."""
    bounded = deploy_statement("RolesWithBoundary")
    own = f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:policy/{OWN}-boundary"
    assert {"StringEquals": {"iam:PermissionsBoundary": {"Fn::Sub": own}}} == bounded["Condition"]
    actions = {"iam:AttachRolePolicy", "iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"}
    assert actions <= set(bounded["Action"])
    assert not actions & set(deploy_statement("Roles")["Action"])
    services = deploy_statement("PassRoles")["Condition"]["StringEquals"]["iam:PassedToService"]
    assert ["codedeploy.amazonaws.com", "lambda.amazonaws.com"] == services


@pytest.mark.parametrize("boundary", ["DevBoundary", "ProdBoundary"])
def test_boundary_allows_policies_of_stack(boundary) -> None:
    """The boundary allows exactly the permissions of the stack's roles and policies, and traces."""
    roles = [r for r in translated()["Resources"].values() if r["Type"] in {"AWS::IAM::Role", "AWS::IAM::Policy"}]
    granted = {action for role in roles for statement in statements(role) for action in as_list(statement["Action"])}
    allowed = {action for s in statements(resource(boundary)) for action in as_list(s["Action"])}
    assert granted | {"xray:PutTelemetryRecords", "xray:PutTraceSegments"} == allowed


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_boundary_allows_only_new_contributions(environment) -> None:
    """The roles of a stack can add contributed photos to its bucket, which CloudFormation names after the stack."""
    arn = f"arn:${{AWS::Partition}}:s3:::pet-classifier-{environment}-contributions-*"
    actions = [
        statement["Action"]
        for statement in statements(resource(f"{environment.title()}Boundary"))
        if any(arn in str(name) for name in as_list(statement["Resource"]))
    ]
    assert ["s3:PutObject"] == actions
    assert "Contributions" in translated()["Resources"]  # CloudFormation's names contain the logical ID, in lower case


def test_deploy_role_cannot_access_contributed_photos() -> None:
    """The role can create and configure the bucket, but neither access objects nor open the bucket by a policy."""
    statement = deploy_statement("ContributionsBucket")
    assert {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::{OWN}-contributions-*"} == statement["Resource"]
    forbidden = ("GetObject", "PutObject", "DeleteObject", "ListBucket", "PutBucketPolicy", "PutBucketAcl")
    assert [] == [
        (action, pattern)
        for action in forbidden
        for pattern in statement["Action"]
        if fnmatch.fnmatchcase(f"s3:{action}", pattern)
    ]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environment_names_its_boundary(environment) -> None:
    """The environment's parameter is the boundary's name in the bootstrap stack and in the deploy policy."""
    boundary = load_parameters(environment)["Boundary"]
    assert f"{stack_name(environment)}-boundary" == boundary
    assert boundary == properties(f"{environment.title()}Boundary")["ManagedPolicyName"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_boundary_is_restricted_to_its_stack(environment) -> None:
    """A role that dev creates cannot access prod; only alarms, photos and traces are shared."""
    named = [
        name["Fn::Sub"]
        for statement in statements(resource(f"{environment.title()}Boundary"))
        for name in as_list(statement["Resource"])
        if not all(re.search(":(Describe|Get|List)[A-Z]", action) for action in as_list(statement["Action"]))
        and name != "*"
    ]
    assert len(named) == 6
    assert all(f"pet-classifier-{environment}" in name for name in named)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_stack_has_tags(environment) -> None:
    """Each stack has tags, which CloudFormation copies to its resources."""
    assert f"Project=pet-classifier Environment={environment}" == config()[environment]["deploy"]["parameters"]["tags"]


def test_files_contain_no_account_id() -> None:
    """Neither the templates nor their parameters contain an account ID."""
    files = ["template.yaml", "samconfig.toml", PATH, *(f"infra/aws/{name}.yaml" for name in ENVIRONMENTS)]
    assert not [name for name in files if re.search(r"\b\d{12}\b", (ROOT / name).read_text())]


def test_bucket_is_versioned_and_retained() -> None:
    """The bucket is versioned and retained, requires TLS, and expires replaced versions."""
    bucket = properties("Bucket")
    assert "Enabled" == bucket["VersioningConfiguration"]["Status"]
    [lifecycle] = bucket["LifecycleConfiguration"]["Rules"]
    assert {"NoncurrentDays": 90} == lifecycle["NoncurrentVersionExpiration"]
    [denied] = statements(resource("BucketPolicy"))
    assert ("Deny", {"Bool": {"aws:SecureTransport": "false"}}) == (denied["Effect"], denied["Condition"])
    assert "Retain" == resource("Bucket")["DeletionPolicy"] == resource("Bucket")["UpdateReplacePolicy"]


def test_repository_expires_images_and_allows_pulls() -> None:
    """Old images expire, and this project's functions can pull."""
    repository = properties("Repository")
    [rule] = json.loads(repository["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert ("imageCountMoreThan", 50) == (rule["selection"]["countType"], rule["selection"]["countNumber"])
    [pull] = repository["RepositoryPolicyText"]["Statement"]
    assert {"Service": "lambda.amazonaws.com"} == pull["Principal"]
    [source] = pull["Condition"]["StringLike"].values()
    function = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:pet-classifier-dev-hook"
    assert fnmatch.fnmatchcase(function, source["Fn::Sub"])


def test_budget_sends_email() -> None:
    """The budget sends an e-mail when the actual or forecast cost nears it."""
    budget = properties("Budget")
    assert ("COST", "MONTHLY", {"Amount": {"Ref": "MonthlyBudget"}, "Unit": "USD"}) == (
        budget["Budget"]["BudgetType"],
        budget["Budget"]["TimeUnit"],
        budget["Budget"]["BudgetLimit"],
    )
    notifications = [
        (n["Notification"]["NotificationType"], n["Notification"]["Threshold"], n["Subscribers"][0]["Address"])
        for n in budget["NotificationsWithSubscribers"]
    ]
    assert [("ACTUAL", 80, {"Ref": "Email"}), ("FORECASTED", 100, {"Ref": "Email"})] == notifications
