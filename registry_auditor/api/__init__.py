"""The web application: inbound webhooks, health and metrics. It imports neither torch nor Celery."""
