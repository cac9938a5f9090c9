"""Test CloudFront in front of the private URL: template, `make edge`, and `infra.emulator.cloudfront`."""

import hashlib
from collections.abc import Iterator
from unittest.mock import Mock

import boto3
import httpx2
import pytest
import yaml

from infra.aws.stack import DeploymentError, read_host
from infra.emulator import cloudfront
from infra.emulator.cloudfront import create_edge, read_security_headers
from infra.emulator.serve import background, listen, local_app, with_cors
from infra.emulator.sigv4 import signed_by
from tests.infra.moto_stacks import STACK, create_stack, make
from tests.infra.smoke.faulty_services import smoke
from tests.support import ROOT
from tests.support.emulator import KEYS, Function
from tests.support.sam import ALIAS_RESOURCE, read, translated
from tests.support.waiting import DEADLINE_S

ORIGIN = "https://example.org"
PHOTO = ROOT / "data/samples/cat.jpg"
HOST = "abc123.lambda-url.eu-central-1.on.aws"


@pytest.fixture(scope="module")
def edge_with_cors(function: Function) -> Iterator[str]:
    """Yield the URL of an edge in front of the released function's private URL, which allows `ORIGIN`."""
    private = with_cors(local_app(function.runtime, authorized=signed_by(KEYS)), ORIGIN)
    with background(private) as url, background(create_edge(url, KEYS)) as address:
        yield address


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def send(url: str, body: bytes, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(f"{url}/predict", content=body, headers=named, trust_env=False, timeout=DEADLINE_S)


@pytest.mark.rie
@pytest.mark.parametrize("headers", [{}, {"x_amz_content_sha256": sha256(b"")}, {"x_amz_content_sha256": "no hash"}])
def test_post_without_its_hash_is_refused(edge: str, headers: dict[str, str]) -> None:
    """A POST without the hash of its body, or with another one, gets 403."""
    assert 403 == send(edge, PHOTO.read_bytes(), **headers).status_code


@pytest.mark.rie
def test_post_with_its_hash_is_answered(edge: str) -> None:
    """A POST with the hash of its body reaches the function; the edge replaces the client's Authorization header."""
    body = PHOTO.read_bytes()
    answer = send(edge, body, x_amz_content_sha256=sha256(body), authorization="Bearer of another service").json()
    assert "cat" == answer["predicted_class"]


@pytest.mark.rie
def test_smoke_test_passes_through_edge(edge_with_cors: str, tmp_path) -> None:
    """The smoke test sends the hashes, and CORS allows the header that holds them."""
    result = smoke(edge_with_cors, tmp_path, "--origin", ORIGIN)
    assert (0, set()) == (result.code, result.failed)


@pytest.mark.rie
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_function_policy_is_kept(edge: str, path: str) -> None:
    """The Content-Security-Policy of a page comes from the function; the edge adds HSTS and nosniff."""
    headers = httpx2.get(edge + path, headers={"accept": "text/html"}, trust_env=False, timeout=DEADLINE_S).headers
    assert "script-src" in headers["content-security-policy"]
    assert ("nosniff", "max-age=31536000") == tuple(
        headers[name] for name in ("x-content-type-options", "strict-transport-security")
    )


@pytest.mark.rie
def test_data_gets_the_strictest_policy(edge: str) -> None:
    """A response without a Content-Security-Policy gets that of the template, which allows nothing."""
    headers = httpx2.get(f"{edge}/health", trust_env=False, timeout=DEADLINE_S).headers
    assert read_security_headers()["content-security-policy"][0] == headers["content-security-policy"]


# --- the templates and `make edge` --------------------------------------------------------------------------------


@pytest.mark.sam
def test_predictions_are_not_cached() -> None:
    """Only the page and the documentation may be cached, and only if the function's Cache-Control allows it."""
    config = read("infra/aws/edge.yaml")["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    assert "4135ea2d-6df8-44a3-9df3-4b5a84be39ad" == config["DefaultCacheBehavior"]["CachePolicyId"]  # CachingDisabled
    assert ["/", "/docs*", "/openapi.json"] == [behavior["PathPattern"] for behavior in config["CacheBehaviors"]]
    pages = read("infra/aws/edge.yaml")["Resources"]["PagesCache"]["Properties"]["CachePolicyConfig"]
    assert (0, 0) == (pages["MinTTL"], pages["DefaultTTL"])


@pytest.mark.sam
def test_edge_signs_every_request() -> None:
    """Origin access control signs always, and the client's Host header is not forwarded."""
    resources = read("infra/aws/edge.yaml")["Resources"]
    control = resources["AccessControl"]["Properties"]["OriginAccessControlConfig"]
    assert ("lambda", "always", "sigv4") == (
        control["OriginAccessControlOriginType"],
        control["SigningBehavior"],
        control["SigningProtocol"],
    )
    config = resources["Distribution"]["Properties"]["DistributionConfig"]
    behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]]
    assert {"b689b0a8-53d0-40ab-baf2-68738e2966ac"} == {found["OriginRequestPolicyId"] for found in behaviors}


@pytest.mark.sam
def test_photos_are_not_blocked_by_rules_on_bodies() -> None:
    """Rules of the common group that read bodies only count, because photos exceed 8 kB and contain any bytes."""
    rules = read("infra/aws/edge.yaml")["Resources"]["WebAcl"]["Properties"]["Rules"]
    [common] = [rule["Statement"]["ManagedRuleGroupStatement"] for rule in rules if rule["Name"] == "common"]
    counted = {found["Name"] for found in common["RuleActionOverrides"] if found["ActionToUse"] == {"Count": {}}}
    names = ["SizeRestrictions", "EC2MetaDataSSRF", "GenericLFI", "GenericRFI", "CrossSiteScripting"]
    assert {f"{name}_BODY" for name in names} == counted


@pytest.mark.sam
def test_only_the_distribution_may_call_the_url() -> None:
    """With EdgeDistribution, CloudFront has both permissions, for that distribution only."""
    found = [translated()["Resources"][name] for name in ("EdgeUrl", "EdgeInvoke")]
    assert ["HasEdge", "HasEdge"] == [permission["Condition"] for permission in found]
    granted = [permission["Properties"] for permission in found]
    assert ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] == [each["Action"] for each in granted]
    assert all(each["SourceArn"]["Fn::Sub"].endswith(":distribution/${EdgeDistribution}") for each in granted)
    assert [{"Ref": ALIAS_RESOURCE}, {"Ref": ALIAS_RESOURCE}] == [each["FunctionName"] for each in granted]
    assert ("AWS_IAM", True) == (granted[0]["FunctionUrlAuthType"], granted[1]["InvokedViaFunctionUrl"])


@pytest.mark.sam
def test_defaults_match_template() -> None:
    """edge-defaults.yaml repeats the template's defaults, which SAM CLI does not send."""
    parameters = read("infra/aws/edge.yaml")["Parameters"]
    expected = {name: str(found["Default"]) for name, found in parameters.items() if "Default" in found}
    defaults = yaml.safe_load((ROOT / "infra/aws/edge-defaults.yaml").read_text())
    assert expected == {name: str(value) for name, value in defaults.items()}


@pytest.fixture
def create_dev_stack(aws: str, monkeypatch: pytest.MonkeyPatch):
    """Return a function that creates the stack of dev in moto, with the given authentication."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    def create(auth: str) -> None:
        template = {
            "Parameters": {"UrlAuthType": {"Type": "String"}},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {"Url": {"Value": f"https://{HOST}/"}},
        }
        create_stack(boto3.client("cloudformation"), STACK, template, {"UrlAuthType": auth})

    return create


def test_public_url_has_no_edge(create_dev_stack) -> None:
    """`make edge` rejects a public URL, because clients could bypass the edge."""
    create_dev_stack("NONE")
    with pytest.raises(DeploymentError, match="UrlAuthType is NONE; expected AWS_IAM"):
        read_host("dev")


@pytest.mark.sam
@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")  # moto has none of the resource types
def test_make_edge_passes_every_parameter(create_dev_stack) -> None:
    """`make edge` deploys to us-east-1 and passes the URL's host and every other parameter."""
    create_dev_stack("AWS_IAM")
    done = make("edge", "ENV=dev")
    stacks = boto3.client("cloudformation", region_name="us-east-1").describe_stacks()["Stacks"]
    assert ["pet-classifier-dev-edge"] == [found["StackName"] for found in stacks], done.stdout + done.stderr
    passed = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stacks[0]["Parameters"]}
    parameters = set(read("infra/aws/edge.yaml")["Parameters"])
    assert (HOST, parameters) == (passed["FunctionDomain"], set(passed))


@pytest.mark.usefixtures("keys")
def test_edge_names_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A taken port exits with 1 and one line on standard error."""
    with listen(0) as taken:
        port = taken.getsockname()[1]
        assert 1 == cloudfront.main(["http://127.0.0.1:1", "--port", str(port)])
    expected = f"cloudfront: port {port}: Address already in use; choose another with --port\n"
    assert expected == capsys.readouterr().err


@pytest.mark.usefixtures("keys")
def test_edge_ends_with_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the emulator of CloudFront without a traceback."""
    monkeypatch.setattr("uvicorn.Server.run", Mock(side_effect=KeyboardInterrupt))
    assert 0 == cloudfront.main(["http://127.0.0.1:1", "--port", "0"])
