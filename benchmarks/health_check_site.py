"""A Django project with django-health-check's Celery ping. Runs in the environment of the peers."""

from __future__ import annotations

import os

import django
from celery import Celery
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only-for-the-benchmark",  # noqa: S106  # nothing is signed
    INSTALLED_APPS=["health_check"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()

from health_check.views import HealthCheckView  # noqa: E402  # needs the settings

app = Celery("upstream", broker=os.environ["CELERY_BROKER_URL"])
app.set_default()


def empty(request: HttpRequest) -> HttpResponse:
    """Return an empty page."""
    return HttpResponse()


checks = ["health_check.contrib.celery.Ping"]
urlpatterns = [path("ping/", HealthCheckView.as_view(checks=checks)), path("empty/", empty)]
application = get_wsgi_application()
