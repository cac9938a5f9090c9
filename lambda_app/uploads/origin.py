"""Reject forms from pages of other origins, which browsers send without a preflight request."""

from urllib.parse import urlsplit

from starlette.requests import Request

from lambda_app.errors import CrossOrigin


def refuse_other_sites(request: Request) -> None:
    """Raise `CrossOrigin` if a page of another origin sent the request. Requests from other programs pass.

    The rule is that of Go's net/http.CrossOriginProtection: `Sec-Fetch-Site` decides. Without it, as in browsers before
    2023 and over HTTP, the host in `Origin` must be that of the request.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if (site not in {"same-origin", "none"}) if site else not is_own:
        raise CrossOrigin(
            "a page of another origin sent this form; send it from this server's page, or from a program other than a "
            "browser"
        )
