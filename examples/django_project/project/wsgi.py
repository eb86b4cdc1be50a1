"""The WSGI application: Django's, with the endpoints and ``/metrics`` added.

They bypass Django's middleware: no redirect, session or transaction.
"""

import os

from django.core.wsgi import get_wsgi_application

from celery_health_bp import mount
from celery_health_bp.django import health_of_project

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = mount(get_wsgi_application(), health_of_project())
