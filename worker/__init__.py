"""The Celery worker: it only wakes us, the database is the queue of record."""
