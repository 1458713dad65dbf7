"""Postgres: schema, migrations and one repository for each noun."""
