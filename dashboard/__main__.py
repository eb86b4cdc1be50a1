"""Write ``celery_health_bp/monitoring/grafana/celery.json``."""

from __future__ import annotations

from pathlib import Path

from .layout import text

FILE = Path(__file__).parent.parent / "celery_health_bp" / "monitoring" / "grafana" / "celery.json"

FILE.write_text(text(), encoding="utf-8")
