"""The project's own pages."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def index(request: HttpRequest) -> HttpResponse:
    """Return a page."""
    return HttpResponse("the project's own page")


urlpatterns = [path("", index)]
