"""Refuse forms from pages of other sites, which browsers send without a preflight request."""

from urllib.parse import urlsplit

from starlette.requests import Request

from lambda_app.errors import CrossOrigin


def refuse_other_sites(request: Request) -> None:
    """Raise `CrossOrigin` if a browser sent the request for a page of another origin. Programs may send anything.

    The rule is that of Go's net/http.CrossOriginProtection. Browsers before 2023, and all browsers without HTTPS, send
    no `Sec-Fetch-Site`; then `Origin` must name the host of the request.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if (site not in {"same-origin", "none"}) if site else not is_own:
        raise CrossOrigin(
            "a page of another site sent this form; expected the page of this server, or a program that is no browser"
        )
