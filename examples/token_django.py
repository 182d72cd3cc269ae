"""Run a Django app that gives each logged-in user tokens for the browser: POST /token."""

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from inworld_sync import Inworld, InworldError

# In production, take the secret key from the environment and add SESSION_COOKIE_SECURE=True.
settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="example",
    ALLOWED_HOSTS=["*"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    # Because of the CSRF check, a page of another site cannot make the browser request a token.
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
)
django.setup()
iw = Inworld()


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Replace this with your own login."""
    request.session["user"] = "ada"
    return HttpResponse("hello")


@require_POST
@never_cache
def token(request: HttpRequest) -> HttpResponse:
    """Return a token that opens one TTS or STT connection within a minute. The key stays here."""
    user = request.session.get("user")
    if user is None:
        return HttpResponse("log in first", status=401)
    try:
        made = iw.tokens.mint("single_use", lifetime=60, reference_id=user, timeout=5)
    except InworldError:
        return HttpResponse("no token at the moment", status=502)
    return JsonResponse({"token": made.token, "expires_at": made.expires_at})


urlpatterns = [path("login", login), path("token", token)]

if __name__ == "__main__":
    print("of another site:", Client(enforce_csrf_checks=True).post("/token").status_code)
    client = Client()
    print("not logged in:", client.post("/token").status_code)
    client.post("/login")
    answer = client.post("/token")
    print("logged in:", answer.status_code, sorted(answer.json()))
    iw.close()
